"""The pages of conversations.py in Falcon, over WSGI."""

from __future__ import annotations

import hashlib
import os

import falcon


class Hello:
    def on_get(self, req, resp, name):
        resp.media = {"greeting": req.get_param("greeting"), "name": name, "pid": os.getpid()}


class Upload:
    def on_post(self, req, resp):
        found = {}
        for part in req.get_media():
            if part.name == "file":
                data = part.stream.read()
                found |= {
                    "name": part.filename,
                    "size": len(data),
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
            else:
                found[part.name] = part.get_text()
        resp.media = found


class Lines:
    def on_get(self, req, resp):
        resp.content_type = falcon.MEDIA_TEXT
        resp.stream = (f"line {number}\n".encode() for number in range(200))


class File:
    def on_get(self, req, resp):
        path = os.environ["DOWNLOAD"]
        resp.content_type = "application/octet-stream"
        resp.set_stream(open(path, "rb"), os.path.getsize(path))  # noqa: SIM115  (the server closes it)


class Fails:
    def on_get(self, req, resp):
        raise RuntimeError("meant to fail")


application = falcon.App()
application.add_route("/hello/{name}", Hello())
application.add_route("/upload", Upload())
application.add_route("/lines", Lines())
application.add_route("/file", File())
application.add_route("/fails", Fails())
