"""What is released: the readme of a distribution, the list of linked code, and the checks of wheels."""

from __future__ import annotations

import io
import json
import re
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

if not (ROOT / "release").is_dir():
    pytest.skip("the tests run without the sources", allow_module_level=True)

from generate.crates import linked_crates, own_version  # noqa: E402
from release import check, trial  # noqa: E402
from release.interpreters import Interpreter  # noqa: E402
from release.platforms import PLATFORMS, Platform  # noqa: E402
from release.tree import from_index, repository, version, with_absolute_links  # noqa: E402

NAME = f"prefork-{version()}-cp313-cp313-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"
INFO = f"prefork-{version()}.dist-info"


# --- the readme ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see [a](docs/a.md)", "see [a](https://a/r/blob/v1/docs/a.md)"),
        ("[a](docs/a.md#part)", "[a](https://a/r/blob/v1/docs/a.md#part)"),
        ("[![p](p.png)](docs/a.md)", "[![p](https://a/r/raw/v1/p.png)](https://a/r/blob/v1/docs/a.md)"),
        ("[a](https://b/c) [d](#e)", "[a](https://b/c) [d](#e)"),
        ("```python\nx = [f](y)\n```\n[a](b)", "```python\nx = [f](y)\n```\n[a](https://a/r/blob/v1/b)"),
    ],
)
def test_a_link_leads_to_the_repository(text: str, expected: str) -> None:
    assert with_absolute_links(text, "https://a/r", "v1") == expected


def test_each_link_of_the_readme_leads_to_a_file() -> None:
    text = with_absolute_links((ROOT / "README.md").read_text(), repository(), f"v{version()}")
    found = re.findall(rf"\]\({re.escape(repository())}/(?:blob|raw)/v{re.escape(version())}/([^)#]+)", text)
    assert len(found) > 10
    assert [name for name in found if not (ROOT / name).exists()] == []


def test_on_an_index_the_readme_begins_with_a_wheel() -> None:
    text = from_index((ROOT / "README.md").read_text())
    first = text[: text.index("## A first application")]
    assert "pip install prefork " in first
    assert "../prefork" not in first


def test_a_readme_whose_first_command_has_changed_is_no_release() -> None:
    with pytest.raises(ValueError, match="the readme does not say 'In the virtual environment"):
        from_index("# prefork\n")


def test_the_package_has_the_version_of_the_crates() -> None:
    import prefork

    assert version() == own_version() == prefork.__version__


# --- the notices and the list of linked code ----------------------------------------------------------------


def test_what_is_linked_is_listed_with_its_licence() -> None:
    names = {crate.name for crate in linked_crates()}
    assert {"pyo3", "ring", "rustls", "sha1_smol", "zlib-rs"} <= names
    # What only builds or tests it, what is a macro, and what is for other systems is not in the module.
    assert not names & {"cc", "pyo3-macros", "proptest", "syn", "windows-sys", "aws-lc-rs", "prefork-wire"}
    notices = (ROOT / "THIRD-PARTY.txt").read_text()
    for crate in linked_crates():
        assert f"\n{crate.name} {crate.version} (" in notices


def test_the_list_is_consistent() -> None:
    bill = json.loads((ROOT / "crates" / "python" / "prefork.cdx.json").read_text())
    references = {component["bom-ref"] for component in bill["components"]}
    own = bill["metadata"]["component"]["bom-ref"]
    assert len(references) == len(bill["components"]) == len(linked_crates())
    assert {each["ref"] for each in bill["dependencies"]} == references | {own}
    reached, left = set(), [own]
    depends = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}
    while left:
        reference = left.pop()
        reached.add(reference)
        left += set(depends[reference]) - reached
    assert reached == references | {own}
    for component in bill["components"]:
        assert re.fullmatch(r"[0-9a-f]{64}", component["hashes"][0]["content"])


# --- the checks ---------------------------------------------------------------------------------------------


def write_wheel(folder: Path, **changes: bytes | None) -> Path:
    """One with what each must have; the changes are by the last part of a name."""
    contents: dict[str, bytes] = {
        "prefork/__init__.py": b"",
        "prefork/_engine.so": b"\x7fELF",
        f"{INFO}/METADATA": b"Name: prefork\n\n[a](https://a/b)\n",
        f"{INFO}/licenses/LICENSE": b"MIT",
        f"{INFO}/licenses/THIRD-PARTY.txt": b"MIT",
        f"{INFO}/sboms/prefork.cdx.json": b"{}",
    }
    for name, content in changes.items():
        known = next((each for each in contents if Path(each).stem == name), f"{name}/__init__.py")
        if content is None:
            del contents[known]
        else:
            contents[known] = content
    path = folder / NAME
    with zipfile.ZipFile(path, "w") as archive:
        for each, content in contents.items():
            archive.writestr(each, content)
    return path


@pytest.fixture
def sound_native_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """What auditwheel and the reader of ELF files would say: they are in another environment."""
    monkeypatch.setattr(check, "_is_stripped", lambda *_: None)
    monkeypatch.setattr(check, "_needs_only", lambda *_: None)
    monkeypatch.setattr(check, "_auditwheel", lambda *_: "manylinux_2_17_x86_64")


@pytest.mark.usefixtures("sound_native_code")
def test_a_wheel_that_has_what_it_must_is_described(tmp_path: Path) -> None:
    assert check.wheel(write_wheel(tmp_path)).startswith(NAME)


@pytest.mark.usefixtures("sound_native_code")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"THIRD-PARTY": None}, "lacks .*THIRD-PARTY.txt"),
        ({"prefork.cdx": None}, "lacks .*prefork.cdx.json"),
        ({"tests": b""}, "has tests beside the package"),
        ({"METADATA": b"Name: prefork\n\nsee [a](docs/a.md)\n"}, r"leads nowhere: \]\(docs/a.md\)"),
        ({"_engine": str(ROOT / "crates").encode()}, "_engine.so names a folder"),
        ({"prefork.cdx": str(Path.home() / ".cargo" / "x").encode()}, "cdx.json names a folder"),
    ],
)
def test_a_wheel_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(check.Unfit, match=message):
        check.wheel(write_wheel(tmp_path, **changes))


def test_a_source_distribution_that_lacks_a_committed_file_is_refused(tmp_path: Path) -> None:
    tree, path = tmp_path / "tree", tmp_path / "prefork.tar.gz"
    for name in ("tests/conftest.py", "applications/site.py", ".gitignore"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    for names in (("tests/conftest.py", "applications/site.py"), ("tests/conftest.py",)):
        with tarfile.open(path, "w:gz") as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(f"prefork-1/{name}"), io.BytesIO())
        if len(names) == 2:
            check.source_distribution(path, tree)
    with pytest.raises(check.Unfit, match=r"lacks applications/site\.py$"):
        check.source_distribution(path, tree)


@pytest.mark.parametrize(
    ("oldest", "fits"),
    [
        ("manylinux_2_17_x86_64", True),
        ("manylinux_2_5_x86_64", True),
        ("manylinux_2_28_x86_64", False),
        ("manylinux_2_17_aarch64", False),
        ("musllinux_1_2_x86_64", False),
        ("linux_x86_64", False),
    ],
)
def test_a_wheel_runs_on_as_old_a_system_as_its_name_says(oldest: str, fits: bool) -> None:
    assert check._is_as_old(oldest, "manylinux_2_17_x86_64") is fits


# --- the trial and the platforms ----------------------------------------------------------------------------


def test_the_environment_of_a_trial_has_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "cargo"
    compiler.write_text("")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/sbin")
    monkeypatch.setenv("CARGO_HOME", str(tmp_path))
    environment = trial.without_compilers()
    assert environment["PATH"] == "/usr/sbin"
    assert "CARGO_HOME" not in environment


def test_a_wheel_is_tried_with_its_interpreter_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Platform, "is_of_this_machine", property(lambda self: "manylinux-x86" in self.name))
    assert trial.fits(Path(NAME), Interpreter("3.13", "python3.13"))
    assert not trial.fits(Path(NAME), Interpreter("3.12", "python3.12"))
    other = NAME.replace("x86_64", "aarch64")
    assert not trial.fits(Path(other), Interpreter("3.13", "python3.13"))


def test_a_platform_that_cannot_be_had_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from release.__main__ import can_be_built

    for name, script in (("rustc", f"echo {tmp_path}"), ("rustup", "echo refused >&2; exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert not can_be_built(PLATFORMS["musllinux-x86_64"])
    (line,) = capsys.readouterr().out.splitlines()
    assert "no wheels for musllinux-x86_64" in line
    assert "rustup target add x86_64-unknown-linux-musl" in line
    (tmp_path / "libstd-0.rlib").write_text("")
    assert can_be_built(PLATFORMS["musllinux-x86_64"])


def test_the_metadata_names_all_that_an_index_shows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["authors"]
    assert project["keywords"] == sorted(project["keywords"])
    assert {"Homepage", "Documentation", "Changelog", "Issues", "Source"} == project["urls"].keys()
    for name in project["license-files"]:
        assert (ROOT / name).is_file()
