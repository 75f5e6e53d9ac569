"""`manage.py serve` in a project as django-admin makes it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.server import Server, start_program
from support.waiting import DEADLINE_S

SETTINGS = """
INSTALLED_APPS += ["prefork.contrib.django"]
ALLOWED_HOSTS = ["127.0.0.1", "[::1]", "localhost"]
STATIC_ROOT = BASE_DIR / "collected"
"""
PRODUCTION = SETTINGS + "DEBUG = False\n"


class Project:
    """A project in a directory of its own, whose package is called `shop`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.django("startproject", "shop", ".")
        self.original = self.settings.read_text()
        self.set(SETTINGS)

    @property
    def settings(self) -> Path:
        return self.directory / "shop" / "settings.py"

    def set(self, text: str) -> None:
        self.settings.write_text(self.original + text)

    def django(self, *arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=self.directory,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=50,
            check=True,
        )
        return done.stdout

    def manage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self.directory,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    @contextlib.contextmanager
    def serve(
        self, *arguments: str, address: str = "127.0.0.1:0", cwd: Path | None = None
    ) -> Iterator[Server]:
        """Runs `manage.py serve` with one worker."""
        manage = str(self.directory / "manage.py")
        place = (address,) if address else ()
        server = Server(
            start_program(manage, "serve", *place, "--workers", "1", *arguments, cwd=cwd or self.directory)
        )
        try:
            yield server.wait_serving()
        finally:
            server.kill()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """With a database, an administrator and collected static files."""
    project = Project(tmp_path_factory.mktemp("project"))
    project.manage("migrate").check_returncode()
    project.manage("collectstatic", "--no-input").check_returncode()
    who = ("--username", "admin", "--email", "admin@example.com")
    project.manage(
        "createsuperuser", "--no-input", *who, DJANGO_SUPERUSER_PASSWORD="secret"
    ).check_returncode()
    return project


def client_of(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.url, trust_env=False, follow_redirects=True, timeout=DEADLINE_S)


@pytest.mark.parametrize("settings", [SETTINGS, PRODUCTION], ids=["debug", "production"])
@pytest.mark.parametrize("flags", [(), ("--asgi",)], ids=["wsgi", "asgi"])
def test_the_admin_with_its_style(project: Project, settings: str, flags: tuple[str, ...]) -> None:
    project.set(settings)
    with project.serve(*flags) as server, client_of(server) as client:
        login = client.get("/admin/")
        assert login.url.path == "/admin/login/"
        for path in re.findall(r'href="(/static/[^"]+\.css)"', login.text):
            style = client.get(path)
            assert (style.status_code, style.headers["content-type"].split(";")[0]) == (200, "text/css")
            assert "{" in style.text
        script = client.get("/static/admin/js/theme.js")
        assert script.headers["content-type"].split(";")[0] == "text/javascript"
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', login.text)
        assert token
        fields = {
            "csrfmiddlewaretoken": token[1],
            "username": "admin",
            "password": "secret",
            "next": "/admin/",
        }
        inside = client.post(login.url, data=fields, headers={"referer": str(login.url)})
        assert "Site administration" in inside.text
        assert client.get("/static/admin/css/gone.css").status_code == 404
        assert server.stop() == 0
    assert "Traceback" not in server.log
    assert "unapplied" not in "\n".join(server.out)


def test_the_server_itself_has_no_django(project: Project) -> None:
    project.set(PRODUCTION)
    with project.serve() as server:
        assert "/django/" not in Path(f"/proc/{server.pid}/maps").read_text()
        assert b"-m\0prefork\0serve\0" in Path(f"/proc/{server.pid}/cmdline").read_bytes()


def test_modules_are_found_from_another_directory(project: Project, tmp_path: Path) -> None:
    project.set(PRODUCTION)
    with project.serve(cwd=tmp_path) as server, client_of(server) as client:
        assert client.get("/admin/login/").status_code == 200


@pytest.mark.parametrize(
    ("given", "url"),
    [("127.0.0.1:0", "http://127.0.0.1:"), ("[::1]:0", "http://[::1]:"), ("0", "http://127.0.0.1:")],
)
def test_it_listens_where_runserver_would(project: Project, given: str, url: str) -> None:
    with project.serve(address=given) as server:
        assert server.url.startswith(url)


def test_static_files_are_left_out_if_asked(project: Project) -> None:
    project.set(PRODUCTION)
    with project.serve("--nostatic") as server, client_of(server) as client:
        assert client.get("/static/admin/css/base.css").status_code == 404


def test_without_a_setting_the_application_is_djangos(project: Project) -> None:
    project.set(PRODUCTION + "WSGI_APPLICATION = None\n")
    with project.serve() as server, client_of(server) as client:
        assert client.get("/admin/login/").status_code == 200


def test_static_files_that_cannot_be_served_are_told(project: Project) -> None:
    project.set(PRODUCTION + "STATIC_ROOT = BASE_DIR / 'nowhere'\n")
    with project.serve() as server:
        assert "is not there: run 'manage.py collectstatic'" in server.log
    project.set(PRODUCTION + "STATIC_ROOT = None\n")
    with project.serve() as server:
        assert "STATIC_ROOT is not set" in server.log


def test_migrations_that_are_missing_are_told(project: Project) -> None:
    project.set(PRODUCTION + "DATABASES['default']['NAME'] = ':memory:'\n")
    with project.serve() as server:
        assert any("unapplied migration(s)" in line for line in server.out)
    project.set(PRODUCTION + "DATABASES['default']['NAME'] = BASE_DIR / 'no' / 'where'\n")
    with project.serve() as server:
        assert "Cannot look for unapplied migrations: unable to open database file" in server.log


@pytest.mark.parametrize(
    ("arguments", "settings", "text"),
    [
        (["8000x"], "", '"8000x" is not a valid port number or address:port pair.'),
        (["8000", "--bind", "8001"], "", "8000 and --bind both say where to listen"),
        ([], "DEBUG = False\nALLOWED_HOSTS = []\n", "You must set settings.ALLOWED_HOSTS"),
        (["0", "--threads", "many"], "", "--threads: expected"),
        (["0", "--wokers", "2"], "", "unrecognized arguments: --wokers"),
        (["0"], "ROOT_URLCONF = 'shop.nowhere'\n", "No module named 'shop.nowhere'"),
        (["0"], "WSGI_APPLICATION = 'shop.wsgi.nowhere'\n", "'shop.wsgi.nowhere' could not be loaded"),
    ],
)
def test_a_mistake_ends_it(project: Project, arguments: list[str], settings: str, text: str) -> None:
    project.set(SETTINGS + settings)
    done = project.manage("serve", *arguments)
    assert done.returncode != 0
    assert text in done.stderr


def test_a_check_that_fails_ends_it(project: Project) -> None:
    project.set(SETTINGS + "MIDDLEWARE = []\n")
    done = project.manage("serve", "0")
    assert done.returncode == 1
    assert "admin.E408" in done.stderr


def test_each_option_of_prefork_is_one_of_the_command(project: Project) -> None:
    project.set(SETTINGS)
    text = project.manage("serve", "--help").stdout
    assert "--min-spare" in text
    assert "--no-keep-alive" in text
    assert "--factory" not in text
