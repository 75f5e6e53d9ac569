"""The type of the option that configures logging. What it says is checked where it is applied."""

from __future__ import annotations

import os
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
