"""Wagtail: a project as `wagtail start` makes it, in production: log-in, images, pages, several workers."""

from __future__ import annotations

import re
from pathlib import Path

from applications.report import holds, same
from applications.site import Site
from applications.trial import Part, Trial

SETTINGS = """\
from .base import *
DEBUG = False
SECRET_KEY = "a secret of the checks"
ALLOWED_HOSTS = ["127.0.0.1"]
"""
USER = {
    "DJANGO_SUPERUSER_USERNAME": "anna",
    "DJANGO_SUPERUSER_PASSWORD": "secret",
    "DJANGO_SUPERUSER_EMAIL": "anna@example.org",
}
PICTURE = (
    "from PIL import Image; Image.effect_mandelbrot((1200, 900), (-3, -2.5, 2, 2.5), 60).save('picture.png')"
)


def _run(trial: Trial) -> None:
    project = trial.place / "project"
    project.mkdir()
    env = USER | {"DJANGO_SETTINGS_MODULE": "mysite.settings.checks", "DATABASE_URL": "sqlite:///db.sqlite3"}
    trial.run("wagtail", "start", "mysite", str(project))
    (project / "mysite" / "settings" / "checks.py").write_text(SETTINGS)
    for command in ("migrate -v0", "collectstatic --noinput -v0", "createsuperuser --noinput"):
        trial.run("python", "manage.py", *command.split(), cwd=project, env=env)
    trial.run("python", "-c", PICTURE)
    flags = ("--workers", "3", "--static", "/static=static", "--static", "/media=media")
    (project / "media").mkdir(exist_ok=True)
    with trial.serve("mysite.wsgi", *flags, env=env, cwd=project) as site:
        _admin(trial, site, trial.place / "picture.png")


def _admin(trial: Trial, site: Site, picture: Path) -> None:
    with trial.check("the welcome page, with a style sheet of the project"):
        text = site.get("/").text
        (style, *_) = re.findall(r'href="(/static/[^"]+\.css)"', text)
        holds(site.get(style).headers["content-type"], "text/css")
    with trial.check("a wrong password is refused, the right one opens the dashboard"):
        same(_log_in(site, "wrong"), 302)
        same(_log_in(site, "secret"), 200)
    with trial.check("the session holds in every worker"):
        for _ in range(12):
            with site.new_client() as client:
                client.cookies = site.client.cookies
                same(client.get("/admin/images/").status_code, 200)
    with trial.check("an image is uploaded, scaled and shown"):
        with picture.open("rb") as file:
            response = site.client.post(
                "/admin/images/multiple/add/",
                data={"title": "Mandelbrot", "collection": "1"},
                files={"files[]": ("picture.png", file, "image/png")},
                headers=_token(site) | {"X-Requested-With": "XMLHttpRequest"},
            )
        same((response.status_code, response.json().get("success")), (200, True))
        listed = site.get("/admin/images/").text
        (source, *_) = re.findall(r'src="(/media/images/[^"]+)"', listed)
        response = site.get(source)
        same(response.headers["content-type"], "image/png")
        same(response.content[:4], b"\x89PNG")
        original = site.get("/media/original_images/picture.png")
        same(original.content, picture.read_bytes())
    with trial.check("a page is written, published and read without a log-in"):
        form = site.client.get("/admin/pages/add/home/homepage/3/")
        same(form.status_code, 200)
        fields = {
            "title": "Bäume",
            "slug": "trees",
            "seo_title": "",
            "search_description": "",
            "action-publish": "action-publish",
            "comments-TOTAL_FORMS": "0",
            "comments-INITIAL_FORMS": "0",
        }
        response = site.client.post("/admin/pages/add/home/homepage/3/", data=fields, headers=_token(site))
        same(response.status_code, 302)
        with site.new_client() as reader:
            same(reader.get("/trees/").status_code, 200)
    with trial.check("a form without the token is refused"), site.new_client() as client:
        same(client.post("/admin/login/", data={"username": "anna", "password": "secret"}).status_code, 403)
    with trial.check("log-out"):
        site.client.post("/admin/logout/", headers=_token(site))
        same(site.client.get("/admin/images/").status_code, 302)


def _log_in(site: Site, password: str) -> int:
    """The status of the dashboard afterwards: without a log-in it leads to one."""
    site.get("/admin/login/")
    fields = {"username": "anna", "password": password, "next": "/admin/"}
    site.client.post("/admin/login/", data=fields, headers=_token(site))
    return site.client.get("/admin/").status_code


def _token(site: Site) -> dict[str, str]:
    return {"X-CSRFToken": site.client.cookies["csrftoken"]}


WAGTAIL = Part("wagtail", "wagtail, Django", "WSGI: log-in, image upload, pages; files by `--static`", _run)
