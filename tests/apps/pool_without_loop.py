"""The application of the pool tests whose workers can make no event loop while the file `fail` is there."""

from __future__ import annotations

import os

from pool_app import kernel, pages, server

__all__ = ["kernel", "pages", "server"]

open_ = kernel._open


def fail():
    if kernel._is_child and os.path.exists("fail"):
        raise OSError(24, "Too many open files")
    open_()


kernel._open = fail  # type: ignore[method-assign]
