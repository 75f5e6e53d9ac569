"""A server whose own process ends slowly, until the file `told` is there: `where` names the step.

It prints what it comes to.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time

from parameters import PARAMETERS

from prefork import Kernel, PreForkServer

PROCESS = os.getpid()


def say(what: str) -> None:
    os.write(1, f"{what}\n".encode())  # at once, while another thread may print


def come_to(where: str) -> None:
    if os.getpid() != PROCESS or PARAMETERS.get("where") != where:
        return
    say(where)
    while not os.path.exists("told"):
        time.sleep(0.01)
    say("whole")


async def refuse_to_end() -> None:
    if os.getpid() == PROCESS and PARAMETERS.get("where") == "task":
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                say("task")


kernel = Kernel()
kernel.on_start(lambda: come_to("on_start"))  # before the server's
server = PreForkServer(kernel, address="127.0.0.1")
kernel.session("END", {"_start": lambda: kernel.post("END", "refuse"), "_stop": lambda: come_to("_stop")}).on(
    "refuse", refuse_to_end
)
server.handle("^/")(lambda: "ok")
atexit.register(come_to, "atexit")
server.on_serving += [
    lambda _: threading.Thread(target=come_to, args=("thread",)).start(),
    lambda _: say("up"),
]

if __name__ == "__main__":
    kernel.run()
    say("after")
    while True:
        time.sleep(1)
