"""Whole programs in the pages are imported, each in a process of its own beside the others of its page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.documents import PAGES, Block, blocks

RUN_ELSEWHERE = {"django.md"}
"""Its programs are parts of a project that its commands make: test_recipes.py runs all of it."""

PROGRAMS = [
    block
    for block in blocks(*(page for page in PAGES if page.name not in RUN_ELSEWHERE))
    if block.language == "python" and block.file and block.file.endswith(".py")
]

IMPORT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("program", sys.argv[1])
spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_a_program_is_imported(program: Block, tmp_path: Path) -> None:
    for block in [*(one for one in PROGRAMS if one.page == program.page), program]:
        assert block.file
        path = tmp_path / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
    assert program.file
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, program.file],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
