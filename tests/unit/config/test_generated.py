"""The generated files follow `options.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

if not (ROOT / "generate").is_dir():
    pytest.skip("the tests run without the sources", allow_module_level=True)

from generate.files import FILES  # noqa: E402


@pytest.mark.parametrize("path", FILES)
def test_a_generated_file_follows_the_options(path: str) -> None:
    assert (ROOT / path).read_text() == FILES[path](), f"{path} is stale: run `make generate`"
