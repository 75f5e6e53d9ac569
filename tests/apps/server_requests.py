"""Responds with what a handler sees of its request."""

from __future__ import annotations

from typing import Any

from prefork import HTTPServer, Kernel, Upload

kernel = Kernel()
server = HTTPServer(kernel)
seen: list[Any] = []


def plain(value):
    if isinstance(value, Upload):
        return [value.filename, value.content_type, value.content.decode()]
    return list(map(plain, value)) if isinstance(value, list) else value


@server.handle(r"^/about/(?P<name>[^/]*)")
def about(request, match):
    return {
        "method": request.method,
        "uri": request.uri,
        "path": request.path,
        "raw_path": request.raw_path.decode(),
        "query": request.query,
        "protocol": request.protocol,
        "match": match["name"],
        "same_match": request.match is match,
        "content": request.content.decode(),
        "content_length": request.content_length,
        "content_type": request.content_type,
        "remote_ip": request.remote_ip,
        "basic": request.authorization_basic,
    }


@server.handle("^/headers")
def headers(request):
    assert "x-FIRST" in request.headers
    return {
        "items": [item for item in request.headers.items() if item[0] != "Accept-Encoding"],
        "first": request.header("x-first"),
        "all": request.headers.get_all("X-First"),
        "none": [request.header("x-none"), request.header("x-none", "default")],
    }


@server.handle("^/json")
def read_json(request):
    return {"json": request.json()}


@server.handle("^/form")
def read_form(request):
    return {name: plain(values) for name, values in request.form().items()}


@server.handle("^/body")
def read_body(request):
    with request.body as file:
        return {"length": len(file.read()), "on_disk": hasattr(file, "raw")}


@server.handle("^/connection")
def connection(request, response):
    found = request.connection
    assert found == response.connection
    seen.append(found)
    return {
        "id": found.id,
        "remote": [found.remote_ip, found.remote_port, found.remote_addr and list(found.remote_addr)],
        "local": [found.local_ip, found.local_port, found.local_addr and list(found.local_addr)],
        "dead": [connection.dead for connection in seen],
        "ssl": [found.ssl, found.sslcipher],
    }


@server.handle("^/respond/content")
def content(response):
    response.code = 418
    response.content = "grüße"


@server.handle("^/respond/bytes")
def content_bytes(response):
    response.content = bytes(range(256))
    response.content_type = "application/octet-stream"


@server.handle("^/respond/headers")
def response_headers(response):
    response.headers.add("Set-Cookie", "a=1")
    response.headers.add("Set-Cookie", "b=2")
    response.headers["X-One"] = "first"
    assert response.header("x-one", "second") == "second"
    assert response.header("X-None") is None
    assert response.content_type is None
    response.headers["Date"] = "Thu, 01 Jan 1970 00:00:00 GMT"


@server.handle("^/respond/(?P<code>[0-9]+)")
def code(code, response):
    response.code = int(code)
    response.content = "content"
