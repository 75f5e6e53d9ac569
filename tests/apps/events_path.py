"""As `wsgi_path.py`, for a handler."""

from __future__ import annotations

from prefork import Kernel, PreForkServer

kernel = Kernel()
server = PreForkServer(kernel)


@server.handle("")
def app(request):
    return f"app {request.path}"
