"""The application of the pool tests with hands on the limits of its manager.

With the parameter `no_memory` no file may grow, and so there is no shared memory. With `user` a child that is
forked while the file `fail` is there belongs to that user, who may have no further thread.
"""

from __future__ import annotations

import os
import resource

from parameters import PARAMETERS
from pool_app import kernel, pages, server

__all__ = ["kernel", "pages", "server"]

filling: list[int] = []


def fill():
    """Take every descriptor that this process may have."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    try:
        while True:
            filling.append(os.dup(0))
    except OSError:
        return len(filling)


def empty():
    while filling:
        os.close(filling.pop())


def forbid_threads():
    if os.path.exists("fail"):
        os.setresuid(*[PARAMETERS["user"]] * 3)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


pages.names.update(fill=fill, empty=empty)
if PARAMETERS.get("user"):
    os.register_at_fork(after_in_child=forbid_threads)
if PARAMETERS.get("no_memory"):
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, -1))
