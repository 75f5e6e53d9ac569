"""`make applications`: what is committed of the applications fits together, and a check can fail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from applications.__main__ import PARTS, main
from applications.environments import APPS, PINS, Environment, Missing
from applications.report import Report, holds, same
from applications.site import entries
from applications.trial import Part

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"[\w.-]+==[\w.+!]+")


def named(part: Part) -> str:
    return part.name


@pytest.mark.parametrize("part", PARTS, ids=named)
def test_each_has_pins_which_are_versions_and_no_addresses(part: Part) -> None:
    environment = Environment(part.name, part.required())
    lines = environment.pins.read_text().splitlines()
    assert [line for line in lines if not PINNED.fullmatch(line)] == []


@pytest.mark.parametrize("part", PARTS, ids=named)
def test_the_page_has_the_results_of_the_pinned_versions(part: Part) -> None:
    environment = Environment(part.name, part.required())
    title = ", ".join(f"{package} {environment.version(package)}" for package in part.title.split(", "))
    assert f"## {title}\n" in (ROOT / "docs" / "applications.md").read_text()


def test_every_pin_file_and_every_application_is_used() -> None:
    assert {file.stem for file in PINS.iterdir()} == {part.name for part in PARTS}
    texts = "".join(file.read_text() for file in (ROOT / "applications" / "parts").glob("*.py"))
    unused = [file.name for file in APPS.glob("*.py") if f'"{file.name}' not in texts]
    assert [name for name in unused if not name.startswith(("traced_", "watched_"))] == []


def test_a_check_that_raises_has_failed_and_the_next_one_follows() -> None:
    report = Report("x 1", "pages")
    with report.check("one is two"):
        same(1, 2)
    with report.check("a word"):
        holds("some words", "word")
    assert report.checks == {"one is two": "AssertionError: expected 2, found 1", "a word": ""}
    assert list(report.failed) == ["one is two"]


def test_a_traceback_is_one_entry_of_the_log() -> None:
    lines = [
        "one",
        "Traceback (most recent call last):",
        "  File x, in writer",
        "    ws.close()",
        "E: closed",
    ]
    assert entries([*lines, "two", *lines[1:]]) == ["one", "\n".join(lines[1:]), "two", "\n".join(lines[1:])]


def test_a_program_that_is_missing_is_no_failure() -> None:
    report = Report("x 1", "pages")
    with pytest.raises(Missing), report.check("a page"):
        raise Missing("it needs a browser")
    assert report.checks == {}


def test_programs_that_are_missing_are_one_line_and_no_result_goes_from_the_page(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = ROOT / "docs" / "applications.md"
    before = page.read_text()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("applications.__main__.PLACE", tmp_path)
    assert main(["wsgidav", "channels"]) == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first == "litmus, redis-server not found: `make programs` installs what some parts need"
    assert "  is left out: it needs the command litmus: `make programs` installs it" in others
    assert others[-1].startswith(
        "docs/applications.md is left as it is: there is no result yet of datasette, "
    )
    assert page.read_text() == before


def test_what_a_part_needs_is_installed_by_the_script() -> None:
    installed = re.findall(r"[\w-]+", (ROOT / ".ci" / "programs").read_text())
    needed = {name for part in PARTS for name in part.programs}
    assert {"chromium", "litmus", "redis-server"} <= needed <= set(installed)


def test_a_name_that_is_none_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasett"]) == 2
    assert capsys.readouterr().err.startswith("expected names of datasette, ")
