"""The log, the access log, and lines on standard output.

The names below are for configurations of logging: `--log-config`.
"""

from __future__ import annotations

from typing import Any

from prefork.logs.handler import LineFormatter as LineFormatter
from prefork.logs.handler import LogHandler as LogHandler
from prefork.logs.logger import adopt_loggers

adopt_loggers()


def __getattr__(name: str) -> Any:
    if name == "JSONFormatter":
        from prefork.logs.json_lines import JSONFormatter  # here, not in the memory of every worker

        return JSONFormatter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
