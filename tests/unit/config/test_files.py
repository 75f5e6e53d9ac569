"""Files that are found by themselves, profiles, references to variables, and the line of what is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefork.config.sources import Sources
from prefork.errors import OptionError


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes files into an empty directory, which is the current one."""
    monkeypatch.chdir(tmp_path)

    def write(prefork: str | None = None, pyproject: str | None = None, **others: str) -> None:
        files = {"prefork.toml": prefork, "pyproject.toml": pyproject, **others}
        for name, content in files.items():
            if content is not None:
                Path(name).write_text(content)

    return write


def given(variables: dict[str, str] | None = None, **flags: object) -> dict[str, Any]:
    sources = Sources(flags, {} if variables is None else variables)
    return {name: value for name, (value, _) in sources.gather().items()}


def error(variables: dict[str, str] | None = None, **flags: object) -> str:
    with pytest.raises(OptionError) as caught:
        given(variables, **flags)
    assert "\n" not in str(caught.value)
    return str(caught.value)


Write = Callable[..., None]


def test_each_source_is_stronger_than_the_one_before(write: Write) -> None:
    write(
        "max_body = 1\nmax_line = 1024\nmax_head = 2048\nbacklog = 1\n",
        "[tool.prefork]\nmax_line = 1025\nmax_head = 2049\nbacklog = 2\n",
    )
    variables = {"PREFORK_MAX_HEAD": "2050", "PREFORK_BACKLOG": "3"}
    assert given(variables, backlog="4") == {"max_body": 1, "max_line": 1025, "max_head": 2050, "backlog": 4}


def test_the_files_that_were_read_are_known_with_their_directories(write: Write, tmp_path: Path) -> None:
    write("", "[tool.prefork]\n")
    sources = Sources({}, {})
    sources.gather()
    assert sources.files == (str(tmp_path / "prefork.toml"), str(tmp_path / "pyproject.toml"))


@pytest.mark.parametrize(
    "content", ["", "[tool.other]\nprefork = 1\n", "this is no TOML", "tool = 'prefork'"]
)
def test_a_project_without_a_table_of_ours_is_no_file_of_options(write: Write, content: str) -> None:
    write(pyproject=content)
    sources = Sources({}, {})
    assert sources.gather() == {}
    assert sources.files == ()


def test_a_file_that_is_named_is_the_only_one(write: Write) -> None:
    write("backlog = 1\n", "[tool.prefork]\nbacklog = 2\n", **{"other.toml": "max_body = 3\n"})
    assert given(config="other.toml") == {"max_body": 3}
    assert given({"PREFORK_CONFIG": "other.toml"}) == {"max_body": 3}
    assert given(config="pyproject.toml") == {"backlog": 2}
    assert given(config="none") == {}
    assert given({"PREFORK_CONFIG": "none"}) == {}


def test_a_project_that_is_named_must_have_the_table(write: Write) -> None:
    write(pyproject="[project]\nname = 'prefork'\n")
    assert error(config="pyproject.toml") == "pyproject.toml: expected a table [tool.prefork]"


def test_files_are_read_again_where_the_process_was_started(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write('pid_file = "pid"\n')
    (tmp_path / "below").mkdir()
    sources = Sources({"access_log": "log", "chdir": "below"}, {})
    first = sources.gather()
    monkeypatch.chdir("below")
    assert sources.gather() == first
    assert Path.cwd() == tmp_path / "below"
    write("", **{str(tmp_path / "prefork.toml"): 'pid_file = "other"\n'})
    assert sources.gather()["pid_file"].value == str(tmp_path / "other")


NO_TABLE = "expected a table [prefork] with the options"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# x\nmax_client = 1\n", "2: unknown option 'max_client'; did you mean 'max_clients'?"),
        ('\n[prefork]\n"max-body" = "x"\n', "3: max-body: expected bytes from 0"),
        (
            "[prefork]\n\n[prefork.profile.dev]\nwokers = 1\n",
            "4: unknown option 'wokers'; did you mean 'workers'",
        ),
        ("workers = 2\n\nmin_spare = 1\n", "1: workers sets prefork.toml:3: min_spare as well"),
        ("[prefork]\na.b = 1\n", "2: unknown option 'a'"),
        ('bind = [\n"x",\n]\n', "1: bind: expected host:port"),
        ('glue = "${A}"\n', "1: glue: the variable A is not set"),
        ("workers = 1\nprofile = 3\n", "2: expected a table for each profile, as [profile.dev]"),
        ("[prefork.profile]\ndev = 1\n", "1: expected a table for each profile, as [prefork.profile.dev]"),
        ('env_file = ".env"\n', "1: unknown option 'env_file'; only the command line and the environment"),
        ("prefork = 3\n", "1: expected a table [prefork], got 3"),
        ("workers = 1\n[profil.dev]\n", f"2: {NO_TABLE}, found [profil]; did you mean 'profile'?"),
        ("[statik]\n", f"1: {NO_TABLE}, found [statik]; did you mean 'static'?"),
        ("\n[prefrok]\n", f"2: {NO_TABLE}, found [prefrok]; did you mean 'prefork'?"),
        ("max-body = 1\nmax_body = 2\n", "2: max_body is set already, as prefork.toml:1: max-body"),
        ("[prefork.profil.dev]\n", "1: unknown table 'profil'; did you mean 'profile'?"),
    ],
)
def test_what_is_wrong_has_its_line(write: Write, content: str, message: str) -> None:
    write(content)
    assert error().startswith(f"prefork.toml:{message}")


def test_what_is_wrong_in_a_project_has_its_line(write: Write) -> None:
    write(pyproject='[project]\nname = "x"\n\n[tool.prefork]\nmax_body = "x"\n')
    assert error().startswith("pyproject.toml:5: max_body: expected bytes")
    write(pyproject="[tool]\nprefork = 1\n")
    assert error() == "pyproject.toml: expected a table [tool.prefork]"
    write(pyproject="[project]\n\n[prefork]\nworkers = 1\n")
    assert error() == "pyproject.toml:3: in pyproject.toml the table is [tool.prefork]; rename it"


# Profiles


def test_a_profile_is_laid_over_the_values_of_its_file(write: Write) -> None:
    write("workers = 4\nbacklog = 1\n[profile.dev]\nworkers = 1\nglue = 'dev'\n[profile.x]\nbacklog = 9\n")
    assert given()["max_clients"] == 4
    found = given(profile="dev")
    assert (found["max_clients"], found["backlog"], found["ipc_glue"]) == (1, 1, "dev")
    assert given({"PREFORK_PROFILE": "x"})["backlog"] == 9
    assert given({"PREFORK_PROFILE": "x"}, profile="dev")["backlog"] == 1


def test_a_profile_may_set_what_workers_sets_otherwise(write: Write) -> None:
    write("min_spare = 2\nmax_spare = 3\n[profile.fixed]\nworkers = 8\n")
    assert given(profile="fixed")["min_spare_servers"] == 8


def test_a_profile_is_in_the_table_that_has_the_options(write: Write) -> None:
    write(
        "[prefork.profile.dev]\nbacklog = 1\n[database]\nx = 1\n",
        "[tool.prefork]\nmax_body = 3\n[tool.prefork.profile.dev]\nmax_body = 4\n",
    )
    assert given(profile="dev") == {"backlog": 1, "max_body": 4}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[profile.dev]\n[profile.test]\n", "prefork.toml has no profile 'de'; did you mean 'dev'?"),
        ("[profile.a]\n[profile.b]\n", "prefork.toml has no profile 'de' (a, b)"),
        ("", "prefork.toml has no profile 'de' (it has none)"),
        (None, "there is no file that could have the profile 'de'"),
        (
            "[prefork]\n[profile.de]\n",
            "prefork.toml has its options in [prefork]; rename [profile.de] to [prefork.profile.de]",
        ),
    ],
)
def test_a_profile_that_is_not_there_is_refused(write: Write, content: str | None, message: str) -> None:
    write(content)
    assert error(profile="de") == f"--profile: {message}"
    assert error({"PREFORK_PROFILE": "de"}) == f"PREFORK_PROFILE: {message}"


# Variables


def test_texts_may_refer_to_variables(write: Write) -> None:
    write('bind = ["${HOST:-localhost}:${SITE}"]\nworkers = "${N}"\n[profile.x]\nglue = "${UNUSED}"\n')
    found = given({"SITE": "81", "N": "3"})
    assert [str(one) for one in found["listeners"]] == ["localhost:81"]
    assert found["max_clients"] == 3


def test_a_file_of_variables_is_read_first_and_sets_them_for_the_application(write: Write) -> None:
    write(
        'glue = "${SHOP}"\n[profile.dev]\nbacklog = 5\n',
        **{".env": "SHOP=shop\nPREFORK_PROFILE=dev\nPREFORK_MAX_BODY=7\nHOME_OF=${SHOP}\n"},
    )
    variables = {"SHOP": "outside"}
    assert given(variables, env_file=(".env",)) == {"ipc_glue": "outside", "backlog": 5, "max_body": 7}
    assert variables["HOME_OF"] == "outside"
    again = {"PREFORK_ENV_FILE": ".env"}
    assert given(again)["ipc_glue"] == "shop"


def test_the_environment_of_this_process_is_left_alone_without_such_a_file(write: Write) -> None:
    write("")
    before = dict(os.environ)
    given(os.environ)  # type: ignore[arg-type]
    assert dict(os.environ) == before
