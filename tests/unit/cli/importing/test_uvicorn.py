"""What uvicorn is given: with uvicorn's own command, and without uvicorn."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from prefork.cli.importing import uvicorn
from prefork.errors import OptionError


@pytest.fixture(params=["installed", "absent"], autouse=True)
def _command(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether uvicorn is there."""
    if request.param == "installed":
        pytest.importorskip("uvicorn")
    else:
        monkeypatch.setitem(sys.modules, "uvicorn.main", None)


def texts(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if type(value) is int else value for name, value in values.items()}


def test_the_command_line_is_read() -> None:
    arguments = "app:app --workers 4 --proxy-headers --no-access-log --header A:b --header C:d --factory"
    found = uvicorn.read_command(arguments.split(), {})
    assert found.target == "app:app"
    given = texts(dict(found.given))
    assert list(given.pop("headers")) == ["A:b", "C:d"]
    assert given == {"workers": "4", "proxy_headers": True, "access_log": False, "factory": True}


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UVICORN_PORT", "9000")
    found = uvicorn.read_command(["app:app"], os.environ)
    assert texts(dict(found.given)) == {"port": "9000"}


def test_a_wrong_flag_is_one_line() -> None:
    with pytest.raises(OptionError, match=r"^uvicorn: No such option.*--wokers"):
        uvicorn.read_command(["app:app", "--wokers", "4"], {})
