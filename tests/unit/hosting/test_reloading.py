"""Which files of a project are watched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prefork.hosting.reloading.files import Files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        "app.py",
        "notes.txt",
        "shop/view.py",
        "shop/templates/page.html",
        "templates/deep/page.html",
        "venv/pyvenv.cfg",
        "venv/lib/module.py",
        ".git/hooks.py",
        "__pycache__/app.py",
        "node_modules/tool.py",
        "generated/code.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return tmp_path


def names(files: Files) -> set[str]:
    (root,) = files.roots
    return {os.path.relpath(path, root) for path in files.found()}


def test_python_files_of_the_project_count(root: Path) -> None:
    assert names(Files((str(root),))) == {"app.py", "shop/view.py", "generated/code.py"}


@pytest.mark.parametrize(
    ("pattern", "more"),
    [
        ("*.html", {"shop/templates/page.html", "templates/deep/page.html"}),
        ("templates/*", {"templates/deep/page.html"}),
        ("*/templates/*", {"shop/templates/page.html"}),
        ("notes.txt", {"notes.txt"}),
    ],
)
def test_a_pattern_adds_files_by_name_or_path(root: Path, pattern: str, more: set[str]) -> None:
    without = names(Files((str(root),)))
    assert names(Files((str(root),), (pattern,))) - without == more


@pytest.mark.parametrize(
    ("pattern", "left_out"),
    [
        ("generated", {"generated/code.py"}),
        ("view.py", {"shop/view.py"}),
        ("shop/*", {"shop/view.py"}),
    ],
)
def test_a_pattern_leaves_out_files_and_directories(root: Path, pattern: str, left_out: set[str]) -> None:
    whole = names(Files((str(root),)))
    assert whole - names(Files((str(root),), exclude=(pattern,))) == left_out


@pytest.mark.parametrize(
    "name", [".#app.py", ".app.py.swp", "app.py~", "#app.py#", "flycheck_app.py", "app.py___jb_tmp___"]
)
def test_what_an_editor_writes_beside_a_file_does_not_count(root: Path, name: str) -> None:
    (root / name).write_text("")
    assert not Files((str(root),), ("*",)).has(str(root / name))


def test_a_name_with_a_dot_in_front_needs_a_pattern_with_one(root: Path) -> None:
    (root / ".env").write_text("")
    assert not Files((str(root),), ("*", "*env")).has(str(root / ".env"))
    assert Files((str(root),), (".env",)).has(str(root / ".env"))
    assert not Files((str(root),), (".env",), ("*env",)).has(str(root / ".env"))


def test_what_was_written_or_renamed_later_has_changed(root: Path) -> None:
    files = Files((str(root),))
    moment_ns = max(os.stat(path).st_ctime_ns for path in files.found())
    assert files.changed_since(moment_ns) == set()
    # The clock of files has larger steps than time.time_ns().
    view, code = root / "shop" / "view.py", root / "generated" / "code.py"
    while code.stat().st_ctime_ns <= moment_ns:
        code = code.rename(code.with_name("renamed.py"))
        os.utime(code, (1, 1))
        view.write_text("x = 1\n")
    assert files.changed_since(moment_ns) == {str(view), str(code)}


def test_a_directory_that_is_gone_is_no_error(tmp_path: Path) -> None:
    files = Files((str(tmp_path / "nowhere"),))
    assert list(files.found()) == []
