"""`make run` is for a first look: it builds what serves, and installs nothing that only tests need."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory where nothing is built yet."""
    for name in ("Makefile", "Cargo.toml", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "crates").mkdir()
    return tmp_path


def commands(checkout: Path, *arguments: str) -> str:
    """What make would run."""
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    done = subprocess.run(
        ["make", "-n", *arguments], cwd=checkout, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_run_installs_no_test_tools(checkout: Path) -> None:
    first = commands(checkout, "run")
    assert "maturin develop --profile release\n" in first
    assert "--extras" not in first
    assert "--extras test" in commands(checkout, "unit")


@pytest.mark.parametrize(("arguments", "port"), [((), 8080), (("PORT=8123",), 8123)])
def test_run_serves_the_synopsis_on_a_port(checkout: Path, arguments: tuple[str, ...], port: int) -> None:
    assert f"serve examples/synopsis.py --bind 127.0.0.1:{port}\n" in commands(checkout, "run", *arguments)
