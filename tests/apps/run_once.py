"""A program whose kernel runs once, and in no worker returns."""

from __future__ import annotations

from prefork import Kernel, PreForkServer

kernel = Kernel()
server = PreForkServer(kernel, address="127.0.0.1", start_servers=3)
kernel.session("END", {"now": lambda: server.shutdown(graceful=True)})
server.on_serving.append(lambda _: kernel.delay(0.1, "END", "now"))
kernel.run()
print("once")
