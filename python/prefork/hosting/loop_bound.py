"""Locks, events and queues of asyncio that belong to a loop that has ended.

Each belongs to the loop on which something has first waited for it. In a process with another loop, every
further wait raises RuntimeError. One that nothing holds can go to another loop: then it is as new.
"""

from __future__ import annotations

import asyncio
import gc
from asyncio import mixins


def unbind() -> list[str]:
    """Has them belong to the loop that uses them next, when no loop runs. Returns those that a task has left
    locked: what waits for one would wait for ever.
    """
    locked = 0
    for one in gc.get_objects():
        # Not isinstance: that asks an object which stands for another one.
        if issubclass(type(one), mixins._LoopBoundMixin):
            one._loop = None
            locked += issubclass(type(one), asyncio.Lock) and one.locked()
    return [f"{locked} locks of asyncio that are locked"] if locked else []
