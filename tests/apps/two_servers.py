"""Two servers in one kernel, each with its own handlers and limits."""

from __future__ import annotations

from prefork import HTTPServer, Kernel

kernel = Kernel()
first = HTTPServer(
    kernel,
    alias="FIRST",
    address="127.0.0.1",
    port=0,
    setup_handler=lambda *at: print("first", *at),
)
second = HTTPServer(
    kernel,
    alias="SECOND",
    address="127.0.0.1",
    port=0,
    setup_handler=lambda *at: print("second", *at),
    max_body=10,
)


@first.handle("")
def of_first():
    return "first"


@second.handle("^/stop$")
def stop():
    second.shutdown(graceful=True)
    return "stopping"


@second.handle("")
def of_second():
    return "second"
