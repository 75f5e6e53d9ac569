"""Request bodies: what a handler gets of them, and where they are kept."""

from __future__ import annotations

import hashlib
import json
import os

from prefork import HTTPServer, Kernel

kernel = Kernel()
server = HTTPServer(kernel)


@server.handle(r"^/length$")
def length(request):
    return str(len(request.content))


@server.handle(r"^/hash$")
def digest(request):
    with request.body as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@server.handle(r"^/twice$")
def twice(request):
    with request.body as first, request.body as second:
        read = [first.read(3), second.read(3), first.read(3)]
        return json.dumps([piece.decode() for piece in read] + [request.content_length, first.seekable()])


@server.handle(r"^/where$")
def where(request):
    files = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    spooled = [name for name in files if "deleted" in name]
    return str(len(spooled))
