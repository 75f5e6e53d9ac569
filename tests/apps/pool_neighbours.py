"""The application of the pool tests with two more servers in its kernel: a pool, and one without a pool."""

from __future__ import annotations

from pool_app import kernel, pages, server

from prefork import HTTPServer, PreForkServer

__all__ = ["alone", "kernel", "other", "pages", "server"]

HANDLERS = [{"dir": "^/pid$", "session": "PAGES", "event": "pid"}]

other = PreForkServer(
    kernel,
    alias="OTHER",
    address="127.0.0.1",
    ipc_glue="prefork-test-other",
    start_servers=2,
    min_spare_servers=2,
    max_spare_servers=2,
    handlers=HANDLERS,
)
alone = HTTPServer(kernel, alias="ALONE", address="127.0.0.1", handlers=HANDLERS)
