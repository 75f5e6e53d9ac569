"""Django with its admin, its static files and SQLite, over WSGI and ASGI."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from support.apps import APPS
from support.server import Server, running

KINDS = {
    "wsgi": ("django_site.wsgi", "--workers", "2"),
    "threads": ("django_site.wsgi", "--workers", "1", "--threads", "4"),
    "asgi": ("django_site.asgi", "--workers", "2"),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a project with a database, an administrator and collected static files."""
    directory = tmp_path_factory.mktemp("site")
    settings = {
        "DJANGO_SITE_DIR": str(directory),
        "DJANGO_SETTINGS_MODULE": "django_site.settings",
        "DJANGO_SUPERUSER_PASSWORD": "secret",
    }
    for command in (
        "migrate",
        "collectstatic --no-input",
        "createsuperuser --no-input --username admin --email admin@example.com",
    ):
        subprocess.run(
            [sys.executable, "-m", "django", *command.split(), "--verbosity", "0"],
            cwd=APPS,
            env=os.environ | settings,
            check=True,
            timeout=50,
        )
    return settings


@pytest.fixture(scope="module", params=list(KINDS.values()), ids=list(KINDS))
def site(request: pytest.FixtureRequest, project: dict[str, str]) -> Iterator[Server]:
    static = f"/static={project['DJANGO_SITE_DIR']}/static"
    options = (*request.param, "--bind", "127.0.0.1:0", "--static", static)
    with running(*options, cwd=APPS, env=project) as server:
        yield server
        assert server.stop() == 0
        assert "Traceback" not in server.log


@pytest.fixture
def client(site: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.url, trust_env=False, follow_redirects=True) as client:
        yield client


def test_a_view(client: httpx.Client, site: Server) -> None:
    assert client.get("/hello/").text.startswith("Hello from Django in ")
    assert client.get("/hello").url.path == "/hello/"
    assert client.get("/nowhere/").status_code == 404
    assert client.get("/about/?a=b").json() == {"uri": f"{site.url}/about/?a=b", "remote": "127.0.0.1"}


def test_the_admin_from_login_to_a_new_user(client: httpx.Client, site: Server) -> None:
    def token(page: str) -> str:
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert found
        return found[1]

    login = client.get("/admin/")
    assert login.url.path == "/admin/login/"
    fields = {"csrfmiddlewaretoken": token(login.text), "username": "admin", "password": "secret"}
    inside = client.post(login.url, data=fields | {"next": "/admin/"}, headers={"referer": str(login.url)})
    assert "Site administration" in inside.text

    name = f"prefork{site.pid}"
    page = client.get("/admin/auth/user/add/")
    fields = {"csrfmiddlewaretoken": token(page.text), "username": name, "usable_password": "true"}
    fields |= {"password1": "a-long-one-9", "password2": "a-long-one-9", "_save": "Save"}
    saved = client.post(page.url, data=fields, headers={"referer": str(page.url)})
    assert "was added successfully" in saved.text
    assert name in client.get("/users/").text.splitlines()


def test_static_files_of_the_admin(client: httpx.Client) -> None:
    response = client.get("/static/admin/css/base.css")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/css")
    again = client.get("/static/admin/css/base.css", headers={"if-none-match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/static/admin/css/gone.css").status_code == 404


def test_an_upload_that_goes_to_disk(client: httpx.Client) -> None:
    response = client.post("/upload/", files={"file": ("big.bin", b"d" * 4_000_000)})
    assert response.json() == {"name": "big.bin", "size": 4_000_000}


def test_a_file_response(client: httpx.Client) -> None:
    response = client.get("/source/")
    assert response.content == (APPS / "django_site" / "urls.py").read_bytes()
    assert response.headers["content-length"] == str(len(response.content))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_warmed_and_asked_before_it_serves(project: dict[str, str], kind: str) -> None:
    pages = ("--warm", "http://127.0.0.1/admin/login/", "--ready-path", "http://127.0.0.1/hello/")
    hook = ("--mold-ready", "django.db:connections.close_all")
    with running(*KINDS[kind], *pages, *hook, "--bind", "127.0.0.1:0", cwd=APPS, env=project) as server:
        assert "warmed by http://127.0.0.1/admin/login/: 200 in" in server.log
        assert server.get("/hello/").startswith(b"Hello from Django")
        assert len(server.err) == 1
