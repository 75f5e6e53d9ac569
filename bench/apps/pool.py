"""A PreForkServer. Arguments: port, event, number of workers (fixed) or "grow" and the glue."""

from __future__ import annotations

import sys

from bench.apps.pages import Pages, handlers
from prefork import Kernel, PreForkServer

port, name, size, *glue = sys.argv[1:]
if size == "grow":
    pool = {"start_servers": 5, "min_spare_servers": 5, "max_spare_servers": 10, "max_clients": 256}
else:
    numbers = ("start_servers", "min_spare_servers", "max_spare_servers", "max_clients")
    pool = dict.fromkeys(numbers, int(size))
kernel = Kernel()
kernel.add(Pages())
PreForkServer(
    kernel,
    address="127.0.0.1",
    port=int(port),
    handlers=handlers(name),
    ipc_glue=glue[0] if glue else None,
    **pool,
)
kernel.run()
