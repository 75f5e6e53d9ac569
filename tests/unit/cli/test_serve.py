"""The flags of `prefork serve`: what they give, and the help."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner

from prefork.cli.main import commands
from prefork.cli.serve import serve
from prefork.config.checked import EXTERNAL
from prefork.config.sources import Given

Run: TypeAlias = Callable[..., dict[str, Any]]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `prefork serve app.py` without serving. Returns the values that were given."""
    from prefork.hosting import serving

    def run(*args: str, **variables: str) -> dict[str, Any]:
        seen: dict[str, object] = {}

        def look(target: str, values: Given, again: Callable[[], Given], files: Sequence[str]) -> None:
            assert target == "app.py"
            assert all(map(os.path.isabs, files))
            seen.update({name: value for name, (value, _) in values.items()})
            assert again() == values

        monkeypatch.setattr(serving, "serve", look)
        CliRunner().invoke(commands, ["serve", "app.py", *args], env=variables, catch_exceptions=False)
        return seen

    return run


def test_every_option_has_a_flag_that_is_in_the_help() -> None:
    shown = CliRunner().invoke(commands, ["serve", "--help"]).output
    assert all(f"{option.flag} " in shown for option in EXTERNAL.values())
    assert "[default: 1g]" in shown
    assert "[default: 75]" in shown


def test_flags_and_variables_are_read(given: Run) -> None:
    assert given("--min-spare", "2", "--no-keep-alive", PREFORK_MAX_BODY="10m") == {
        "min_spare_servers": 2,
        "keep_alive": False,
        "max_body": 10 << 20,
    }


def test_bind_is_repeated_and_of_other_options_the_last_counts(given: Run) -> None:
    listeners = given("-b", "[::1]:80", "-b", "81")["listeners"]
    assert [str(one) for one in listeners] == ["[::1]:80", ":81"]
    assert given("--max-body", "1m", "--max-body", "2m") == {"max_body": 2 << 20}


@pytest.mark.parametrize("as_flag", [True, False])
def test_a_flag_or_a_variable_names_the_file(given: Run, tmp_path: Path, as_flag: bool) -> None:
    path = tmp_path / "prefork.toml"
    path.write_text('glue = "site"\n')
    found = given("--config", str(path)) if as_flag else given(PREFORK_CONFIG=str(path))
    assert found == {"ipc_glue": "site"}


def test_short_flags_are_those_of_gunicorn() -> None:
    flags = {flag for parameter in serve.params for flag in parameter.opts}
    assert {"-b", "-w", "-p", "-c", "-u", "-g", "-m"} <= flags
