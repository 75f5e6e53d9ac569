"""Responds with the variables of its process, and with those of a program that it starts, as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

DUMP = "import json, os; print(json.dumps(dict(os.environ)))"


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    started = subprocess.run([sys.executable, "-c", DUMP], stdout=subprocess.PIPE, check=True)
    found = {"own": dict(os.environ), "started": json.loads(started.stdout), "pid": os.getpid()}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode()]
