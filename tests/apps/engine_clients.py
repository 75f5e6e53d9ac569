"""Pages for clients of every kind."""

from __future__ import annotations

import hashlib

from prefork import HTTPServer, Kernel

kernel = Kernel()
server = HTTPServer(kernel)


@server.handle(r"^/upload$")
def upload(request):
    with request.body as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@server.handle(r"^/form$")
def form(request):
    return {"method": request.method, "form": request.form()}


@server.handle(r"^/stream$")
async def stream():
    for number in range(100):
        yield f"{number}\n" * 100


@server.handle(r"^/whoami$")
def whoami(request, response):
    response.headers["X-Port"] = str(request.connection.remote_port)
    return request.protocol
