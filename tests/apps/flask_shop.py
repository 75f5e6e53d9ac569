"""A small Flask application with one of everything that people do in Flask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from flask import (
    Flask,
    Response,
    abort,
    jsonify,
    make_response,
    redirect,
    request,
    session,
    stream_with_context,
)

app = Flask(__name__)
app.secret_key = "for tests alone"


@app.get("/hello/<name>")
def hello(name: str) -> str:
    return f"Hello {name}, from {os.getpid()}"


@app.post("/form")
def form() -> Any:
    return jsonify(fields=request.form.to_dict(flat=False), args=request.args.to_dict())


@app.post("/json")
def json() -> Any:
    return jsonify(request.get_json())


@app.post("/upload")
def upload() -> Any:
    file = request.files["file"]
    size = 0
    while piece := file.stream.read(1 << 20):
        size += len(piece)
    return jsonify(name=file.filename, type=file.content_type, size=size)


@app.post("/raw")
def raw() -> Any:
    return jsonify(length=request.content_length, size=len(request.get_data()))


@app.get("/count")
def count() -> Any:
    session["seen"] = session.get("seen", 0) + 1
    return str(session["seen"])


@app.get("/lines")
def lines() -> Any:
    def make() -> Iterator[str]:
        for number in range(3):
            yield f"line {number} of {request.path}\n"

    return Response(stream_with_context(make()), mimetype="text/plain")


@app.get("/away")
def away() -> Any:
    return redirect("/hello/there")


@app.get("/cookies")
def cookies() -> Any:
    response = make_response("two")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


@app.get("/teapot")
def teapot() -> Any:
    abort(418)


@app.get("/broken")
def broken() -> Any:
    raise RuntimeError("broken on purpose")


@app.get("/about")
def about() -> Any:
    return jsonify(
        url=request.url, remote=request.remote_addr, script=request.script_root, method=request.method
    )
