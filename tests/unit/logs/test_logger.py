from __future__ import annotations

import re
from pathlib import Path

import prefork
from prefork.logs.logger import NAMES


def test_each_logger_in_the_code_is_known() -> None:
    """Another one would not escape what it is given, and could be disabled."""
    package = Path(prefork.__file__).parent
    code = "\n".join(file.read_text() for file in package.rglob("*.py"))
    assert set(re.findall(r'getLogger\("(prefork[.\w]*)"\)', code)) == set(NAMES)
    assert set(re.findall(r"getLogger\(([^\")]+)\)", code)) == {"name"}


def test_no_log_call_puts_its_arguments_into_the_text() -> None:
    """A text from a client is escaped because it is an argument."""
    package = Path(prefork.__file__).parent
    calls = r"logger\.(?:debug|info|warning|error|exception|critical)\(\s*f\""
    found = {
        f"{file.name}: {match}"
        for file in package.rglob("*.py")
        for match in re.findall(calls, file.read_text())
    }
    assert found == set()
