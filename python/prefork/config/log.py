"""The types of options of the log and of metrics. What a configuration of logging says is checked where it is
applied.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from prefork.config.values import reader, text


@reader("CONFIG_FILE")
def log_configuration(value: object) -> str | dict[str, Any]:
    """A file, as an absolute path; in programs and in TOML also the configuration itself."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, str | os.PathLike):
        return os.path.abspath(text(os.fspath(value)))
    raise ValueError("a file, or a dict as logging.config.dictConfig takes it")


@reader("TEXT")
def metric_prefix(value: object) -> str:
    """The beginning of the names of metrics, such as service.app; empty for none."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9._-]{0,200}", value):
        return value
    raise ValueError("letters, digits, dots, dashes and underscores, as in service.app")
