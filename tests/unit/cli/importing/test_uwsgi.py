"""What uWSGI is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefork.cli.importing import uwsgi
from prefork.errors import OptionError


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_file_is_read() -> None:
    Path("base.ini").write_text("[uwsgi]\nharakiri = 30\n")
    Path("shop.ini").write_text(
        "[other]\nworkers = 9\n[uwsgi]\n; a comment\nini = base.ini\nbase = /srv\nchdir = %(base)/shop\n"
        "module = shop.wsgi ; its module\nworkers = $(COUNT)\nstatic-map = /a=/x\nstatic-map = /b=/y\n"
        "pidfile = /run/%n.pid\nlog = 50%%\nmaster\n"
    )
    found = uwsgi.read_file("shop.ini", {"COUNT": "4"})
    assert dict(found.given) == {
        "harakiri": "30",
        "chdir": "/srv/shop",
        "module": "shop.wsgi",
        "processes": "4",
        "static-map": ["/a=/x", "/b=/y"],
        "pidfile": "/run/shop.pid",
        "master": "true",
    }
    assert found.target == "shop.wsgi:application"
    assert found.unknown == ("log",)


def test_conditions_are_followed() -> None:
    Path("a.ini").write_text(
        "[uwsgi]\nif-env = DEBUG\nworkers = 1\nendif =\nif-not-env = DEBUG\nworkers = 8\nendif =\n"
        "if-exists = a.ini\nthreads = 2\nendif =\nwsgi-file = app.py\ncallable = api\n"
    )
    assert uwsgi.read_file("a.ini", {"DEBUG": "1"}).given["processes"] == "1"
    found = uwsgi.read_file("a.ini", {})
    assert found.given["processes"] == "8"
    assert found.given["threads"] == "2"
    assert found.target == "app.py:api"


def test_the_command_line_is_read() -> None:
    found = uwsgi.read_command(
        ["--http", ":8000", "-w", "shop:app", "-p4", "--master", "--processes=2", "-M"], {}
    )
    assert found.target == "shop:app"
    assert dict(found.given) == {
        "http": ":8000",
        "module": "shop:app",
        "processes": ["4", "2"],
        "master": ["true", "true"],
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--proceses 4", r"^uwsgi: no such option --proceses; did you mean '--processes'\?"),
        ("--http", "^uwsgi: --http requires a value"),
        ("shop.xml", "write it as INI first"),
        ("none.ini", "^none.ini cannot be read: No such file"),
        ("what", "expected an option or a file"),
    ],
)
def test_a_mistake_is_one_line(arguments: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        uwsgi.read_command(arguments.split(), {})


def test_a_file_that_includes_itself_is_one_line() -> None:
    Path("a.ini").write_text("[uwsgi]\nini = a.ini\n")
    with pytest.raises(OptionError, match="it includes itself"):
        uwsgi.read_file("a.ini", {})


def test_a_section_includes_another_one_of_its_file() -> None:
    Path("a.ini").write_text("[uwsgi]\nini = :base\n[dev]\nini = :base\nthreads = 2\n[base]\nworkers = 3\n")
    assert dict(uwsgi.read_file("a.ini", {}).given) == {"processes": "3"}
    assert dict(uwsgi.read_file("a.ini:dev", {}).given) == {"processes": "3", "threads": "2"}


def test_variables_are_options_of_a_command_line() -> None:
    found = uwsgi.read_command(["--processes", "4"], {"UWSGI_HTTP": ":80", "UWSGI_PROCESSES": "2"})
    assert dict(found.given) == {"http": ":80", "processes": ["2", "4"]}
    assert "UWSGI_" in found.origin


def test_a_call_is_a_factory() -> None:
    found = uwsgi.read_command(["-w", "django.core.wsgi:get_wsgi_application()"], {})
    assert found.target == "django.core.wsgi:get_wsgi_application"
    assert found.options == {"factory": True}
