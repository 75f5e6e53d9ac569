"""An HTTPServer that is a worker of a pool, or is not. Arguments: port, and what it has of a pool: nothing, a
slot of the scoreboard, or all, which adds the queue.

All else is the same in both, so what they differ by is what membership costs. The pool is one of ten that may
grow: with each request the worker looks, as in such a pool, whether spares get short. The others never serve.
"""

from __future__ import annotations

import os
import socket
import sys

from bench.apps.pages import Pages, handlers
from prefork import HTTPServer, Kernel
from prefork._engine import Scoreboard

WORKERS = 10
MIN_SPARE = 5


def join() -> None:
    board = Scoreboard.create(WORKERS)
    board.publish(may_grow=True, min_spare=MIN_SPARE, kept=True)
    for index in range(WORKERS):
        board.claim(index, 1)  # the others stay "starting", which counts as spare
    overcommit = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    kernel.engine.join_pool(board, 0, 1, WORKERS, overcommit)
    if member == "all":
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        kernel.engine.join_queue(ends[0].fileno(), ends[1].fileno())
        kernel.engine.start_guard(0.0)
    kernel.engine.enter_pool()


port, member = sys.argv[1:]
kernel = Kernel()
kernel.add(Pages())
HTTPServer(kernel, address="127.0.0.1", port=int(port), handlers=handlers("done"))
if member != "nothing":
    kernel.on_start(join)
kernel.run()
