"""Says where a request comes from, as a handler sees it."""

from __future__ import annotations

from prefork import Kernel, PreForkServer

kernel = Kernel()
server = PreForkServer(kernel, start_servers=1, min_spare_servers=1, max_spare_servers=1, max_clients=1)


@server.handle(".*")
def origin(request):
    return {
        "client": request.connection.remote_ip,
        "port": request.connection.remote_port,
        "remote_ip": request.remote_ip,
        "uri": request.uri,
        "scheme": request.uri.partition(":")[0],
        "host": request.header("host"),
        "fields": sorted(name.lower() for name in request.headers if "forwarded" in name.lower()),
        "told": request.connection.proxy_protocol,
    }
