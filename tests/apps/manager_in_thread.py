"""A program whose manager runs in a thread; it ends at the end of a line on standard input."""

from __future__ import annotations

import threading

from prefork import Kernel, PreForkServer

kernel = Kernel()
server = PreForkServer(
    kernel, address="127.0.0.1", port=0, start_servers=1, min_spare_servers=1, max_spare_servers=1
)
up = threading.Event()
server.on_serving.append(lambda _server: up.set())
thread = threading.Thread(target=kernel.run, daemon=True)
thread.start()
up.wait(10)
print(server.workers[0], flush=True)
input()
kernel.loop.call_soon_threadsafe(server.shutdown)
thread.join(10)
