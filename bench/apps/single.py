"""An HTTPServer, no pool. Arguments: port, event."""

from __future__ import annotations

import sys

from bench.apps.pages import Pages, handlers
from prefork import HTTPServer, Kernel

port, name = sys.argv[1:]
kernel = Kernel()
kernel.add(Pages())
HTTPServer(kernel, address="127.0.0.1", port=int(port), handlers=handlers(name))
kernel.run()
