"""The application of the pool tests, in whose workers the functions of `descriptors.py` can be called."""

from __future__ import annotations

import descriptors
from pool_app import kernel, pages, server

__all__ = ["kernel", "pages", "server"]

pages.names.update(vars(descriptors))
