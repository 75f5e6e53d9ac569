"""The pages of conversations.py in Pyramid, over WSGI."""

from __future__ import annotations

import hashlib
import os

from pyramid.config import Configurator
from pyramid.response import FileResponse, Response
from pyramid.session import SignedCookieSessionFactory


def hello(request):
    return {"greeting": request.params.get("greeting"), "name": request.matchdict["name"], "pid": os.getpid()}


def upload(request):
    file = request.POST["file"]
    data = file.file.read()
    digest = hashlib.sha256(data).hexdigest()
    return {"name": file.filename, "note": request.POST["note"], "size": len(data), "sha256": digest}


def lines(request):
    return Response(
        app_iter=(f"line {number}\n".encode() for number in range(200)),
        content_type="text/plain",
        charset="utf-8",
    )


def file(request):
    return FileResponse(os.environ["DOWNLOAD"], request=request, content_type="application/octet-stream")


def counter(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return {"visits": request.session["visits"]}


def fails(request):
    raise RuntimeError("meant to fail")


def make():
    with Configurator(session_factory=SignedCookieSessionFactory("a secret of the checks")) as config:
        config.add_route("hello", "/hello/{name}", request_method="GET")
        for name in ("upload", "lines", "file", "counter", "fails"):
            config.add_route(name, f"/{name}")
        for view in (hello, upload, counter):
            config.add_view(view, route_name=view.__name__, renderer="json")
        for view in (lines, file, fails):
            config.add_view(view, route_name=view.__name__)
        return config.make_wsgi_app()


application = make()
