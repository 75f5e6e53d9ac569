"""The application of the tests in `wire/`: it responds with the requests that its handlers have seen."""

from __future__ import annotations

import json
import os

from prefork import Kernel, PreForkServer

kernel = Kernel()
server = PreForkServer(kernel)
seen: list[str] = []


@server.handle(r"^/seen$")
def report():
    reported = json.dumps({"pid": os.getpid(), "seen": seen})
    seen.clear()
    return reported


@server.handle(r"^/fields$")
def fields(request):
    return json.dumps([[name.lower(), value] for name, value in request.headers.items()])


@server.handle(r"^/inject$")
def inject(request, response):
    evil = {"crlf": "a\r\nSet-Cookie: b", "lf": "a\nb", "nul": "a\0b"}
    response.headers[request.header("x-name")] = evil.get(request.header("x-value"), "plain")
    response.content = "never sent"


@server.handle(r"^/promise/(?P<length>\d+)/(?P<given>\d+)$")
def promise(response, length, given):
    response.headers["Content-Length"] = length
    response.content = "x" * int(given)


@server.handle(r"")
def note(request):
    seen.append(f"{request.method} {request.path}")
    return request.content
