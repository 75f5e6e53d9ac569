"""The tree that is released: the committed files of this checkout, its commit, and the readme of the index.

There the readme is read without the files beside it, by people who need no checkout: its links lead to the
repository, at the version, and its first command installs a wheel.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLACE = ROOT / "target" / "wheels"
COMMIT = Path("crates", "python", "COMMIT")
PICTURES = (".png", ".svg")

FROM_INDEX = {
    "In the virtual environment of your own project, with a checkout of this repository beside it:": (
        "In the virtual environment of your own project:"
    ),
    "pip install ../prefork                  # builds the engine; '../prefork[uvloop]' has uvloop too": (
        "pip install prefork                     # needs no compiler; 'prefork[uvloop]' has uvloop too"
    ),
    "You need Linux, Python 3.11 or newer and a Rust toolchain (1.85 or newer). To look around first,": (
        "You need Linux and Python 3.11 or newer. To look around first, with Rust (1.85 or newer),"
    ),
}
"""What the readme says to people who have a checkout, and what it says on an index instead."""


def make_tree() -> Path:
    """Its directory. Raises CalledProcessError outside of a checkout."""
    tree = PLACE / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    for name in _git("ls-files", "-z").rstrip("\0").split("\0"):
        if (ROOT / name).is_file():  # not one that is deleted and not committed
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    (tree / COMMIT).write_text(commit() + "\n")
    readme = tree / "README.md"
    text = with_absolute_links(readme.read_text(), repository(), f"v{version()}")
    readme.write_text(from_index(text))
    return tree


def commit() -> str:
    """Of the checkout; with `-modified` if its files are not those of the commit."""
    modified = "-modified" if _git("status", "--porcelain", "--untracked-files=no") else ""
    return _git("rev-parse", "--short=12", "HEAD").strip() + modified


def version() -> str:
    found: str = _toml("Cargo.toml")["workspace"]["package"]["version"]
    return found


def repository() -> str:
    """Its address, for people."""
    found: str = _toml("pyproject.toml")["project"]["urls"]["Source"]
    return found


def packages() -> list[str]:
    """What a wheel installs."""
    found: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["maturin"][
        "python-packages"
    ]
    return found


def with_absolute_links(readme: str, address: str, revision: str) -> str:
    """Each link to a file, or to a picture, leads to that revision of the repository. Code is left alone."""

    def absolute(found: re.Match[str]) -> str:
        target = found["target"]
        kind = "raw" if target.endswith(PICTURES) else "blob"
        return f"]({address}/{kind}/{revision}/{target})"

    parts = re.split(r"(^```.*?^```$)", readme, flags=re.MULTILINE | re.DOTALL)
    link = re.compile(r"\]\((?![a-z]+:|#)(?P<target>[^()\s]+)\)")
    return "".join(part if part.startswith("```") else link.sub(absolute, part) for part in parts)


def from_index(readme: str) -> str:
    """The readme for people who have no checkout. Raises ValueError if it lacks a text of `FROM_INDEX`."""
    for text, instead in FROM_INDEX.items():
        if readme.count(text) != 1:
            raise ValueError(f"the readme does not say {text!r}")
        readme = readme.replace(text, instead)
    return readme


def _toml(name: str) -> dict[str, dict[str, dict[str, str]]]:
    return tomllib.loads((ROOT / name).read_text())


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout
