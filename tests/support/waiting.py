"""Waiting for a condition, with a deadline. A test that waits for anything else waits for luck."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE_S = 20.0
"""What takes longer has failed. A busy machine needs the most of it; an idle one needs milliseconds."""


def wait_until(condition: Callable[[], T], what: str = "the condition", deadline_s: float = DEADLINE_S) -> T:
    """Return the first truthy value of `condition`. Raise AssertionError if none comes in time."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true in {deadline_s} s; last: {value!r}")
        time.sleep(0.002)
