"""A PreForkServer. Arguments: port, event, number of workers (fixed) or "grow" and the glue."""

from __future__ import annotations

import sys

from bench.apps.pages import Pages, handlers
from prefork import Kernel, PreForkServer

port, name, size, *glue = sys.argv[1:]
start, least, most, clients = (5, 5, 10, 256) if size == "grow" else (int(size),) * 4
kernel = Kernel()
kernel.add(Pages())
PreForkServer(
    kernel,
    address="127.0.0.1",
    port=int(port),
    handlers=handlers(name),
    ipc_glue=glue[0] if glue else None,
    start_servers=start,
    min_spare_servers=least,
    max_spare_servers=most,
    max_clients=clients,
)
kernel.run()
