"""The tree that is released: the committed files of this checkout, its commit, and the readme of the index.

There the readme is read without the files beside it, so its links lead to the repository, at the version.
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
    readme.write_text(with_absolute_links(readme.read_text(), repository(), f"v{version()}"))
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


def _toml(name: str) -> dict[str, dict[str, dict[str, str]]]:
    return tomllib.loads((ROOT / name).read_text())


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout
