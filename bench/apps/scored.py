"""An HTTPServer that keeps a slot of a scoreboard, as a worker does, or does not. Arguments: port, yes or no.

All else is the same in both, so what they differ by is what the scoreboard costs. The slot is one of a pool
of ten that may grow: with each request it looks, as in such a pool, whether spares get short.
"""

from __future__ import annotations

import os
import sys

from bench.apps.pages import Pages, handlers
from understudy import HTTPServer, Kernel
from understudy._engine import Scoreboard

WORKERS = 10
MIN_SPARE = 5


def take_slot() -> None:
    board = Scoreboard.create(WORKERS)
    board.publish(may_grow=True, min_spare=MIN_SPARE)
    for index in range(WORKERS):
        board.claim(index, 1)  # the others stay "starting", which counts as spare
    gate = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    kernel.engine.join_pool(board, 0, 1, gate)
    kernel.engine.enter_pool()


port, scored = sys.argv[1:]
kernel = Kernel()
kernel.add(Pages())
HTTPServer(kernel, address="127.0.0.1", port=int(port), handlers=handlers("done"))
if scored == "yes":
    kernel.on_start(take_slot)
kernel.run()
