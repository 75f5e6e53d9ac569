"""Any application on FastPySGI, whose own command takes none from a package. Arguments: port, module:name."""

from __future__ import annotations

import importlib
import sys

import fastpysgi

port, target = sys.argv[1:]
module, _, name = target.partition(":")
fastpysgi.run(getattr(importlib.import_module(module), name), "127.0.0.1", int(port), loglevel=0)
