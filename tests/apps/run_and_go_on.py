"""A program that goes on after its pool, and prints what is left of it."""

from __future__ import annotations

import os

from prefork import Kernel, PreForkServer

kernel = Kernel()
server = PreForkServer(kernel, address="127.0.0.1", start_servers=2)
kernel.session("END", {"now": kernel.stop})
server.on_serving.append(lambda _: kernel.post("END", "now"))
kernel.run()
with open(f"/proc/self/task/{os.getpid()}/children") as children:
    print([children.read(), server.listening, server.glue])
