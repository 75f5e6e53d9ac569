"""What gunicorn is given: with gunicorn's own parser, and without gunicorn."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from prefork.cli.importing import gunicorn
from prefork.errors import OptionError


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=["installed", "absent"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether gunicorn is there."""
    if request.param == "installed":
        pytest.importorskip("gunicorn")
    else:
        monkeypatch.setitem(sys.modules, "gunicorn.config", None)


def texts(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers as texts: only gunicorn's own parser makes numbers of them."""
    return {name: str(value) if type(value) is int else value for name, value in values.items()}


@pytest.mark.usefixtures("parser")
def test_the_command_line_is_read() -> None:
    arguments = (
        "-w 4 -k uvicorn.workers.UvicornWorker -b :8000 --bind unix:/a --preload app:api --proxy-protocol"
    )
    found = gunicorn.read_command(arguments.split(), {})
    assert found.target == "app:api"
    assert texts(dict(found.given)) == {
        "bind": [":8000", "unix:/a"],
        "preload_app": True,
        "proxy_protocol": "auto",
        "worker_class": "uvicorn.workers.UvicornWorker",
        "workers": "4",
    }


@pytest.mark.usefixtures("parser")
def test_the_command_line_is_stronger_than_the_variable_and_that_than_the_file() -> None:
    Path("gunicorn.conf.py").write_text("workers = 1\nthreads = 1\nbacklog = 1\nhelper = 5\n")
    found = gunicorn.read_command(["app", "-w", "3"], {"GUNICORN_CMD_ARGS": "--threads 2 -w 2"})
    assert texts(dict(found.given)) == {"workers": "3", "threads": "2", "backlog": "1"}
    assert "gunicorn.conf.py" in found.origin
    assert "GUNICORN_CMD_ARGS" in found.origin


@pytest.mark.usefixtures("parser")
def test_a_wrong_flag_is_one_line() -> None:
    with pytest.raises(OptionError, match=r"^gunicorn: .*--wokers"):
        gunicorn.read_command(["app", "--wokers", "3"], {})
    with pytest.raises(OptionError, match="GUNICORN_CMD_ARGS: No closing quotation"):
        gunicorn.read_command(["app"], {"GUNICORN_CMD_ARGS": "'"})


@pytest.mark.parametrize(
    ("given", "target", "factory"),
    [
        ("shop", "shop:application", False),
        ("shop.wsgi:app", "shop.wsgi:app", False),
        ("shop:create()", "shop:create", True),
        ("shop:create('x')", "shop:create", True),
    ],
)
def test_the_application_is_the_target(given: str, target: str, factory: bool) -> None:
    found = gunicorn.read_command([given], {})
    assert found.target == target
    assert found.options == ({"factory": True} if factory else {})
    assert bool(found.notes) is ("'x'" in given)


def test_a_configuration_file_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(
        "import os\nprint('hi')\nworkers = 2 + len('a')\nwsgi_app = 'shop'\nos.chdir('/')\n"
    )
    before = Path.cwd()
    found = gunicorn.read_file("mine.py", {})
    assert dict(found.given) == {"workers": 3, "wsgi_app": "shop"}
    assert found.target == "shop:application"
    assert capsys.readouterr() == ("", "hi\n")
    assert Path.cwd() == before
    assert not Path("__pycache__").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\nbind = adress\n", "mine.py, line 2: NameError: name 'adress' is not defined"),
        ("workers = (\n", r"mine.py, line 1: SyntaxError: '\(' was never closed"),
        ("def f():\n    raise ValueError('no')\nf()\n", "mine.py, line 2: ValueError: no"),
        ("import sys\nsys.exit(3)\n", r"mine.py, line 2: it ends the process \(status 3\)"),
        ("import no_such_module\n", "mine.py, line 1: ModuleNotFoundError"),
    ],
)
def test_a_configuration_file_that_fails_is_one_line(source: str, message: str) -> None:
    Path("mine.py").write_text(source)
    with pytest.raises(OptionError, match=f"^{message}"):
        gunicorn.read_file("mine.py", {})


def test_a_file_that_is_not_there_is_one_line() -> None:
    with pytest.raises(OptionError, match=r"^other\.py is not there$"):
        gunicorn.read_command(["app", "-c", "other.py"], {})
