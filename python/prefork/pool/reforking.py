"""When a worker is to become the next mold: pure functions of what the workers have served.

Always: there is a limited number of attempts in any time. After each one that succeeds a worker has to serve
twice as much as that mold had: an application makes less and less that its workers do not share yet. After
each one that fails the pause is twice as long.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """The next attempt is made with a worker that has served `requests`, and not before `not_before`, in
    monotonic seconds.
    """

    requests: int
    not_before: float = -math.inf
    pause_s: float = FIRST_PAUSE_S


def candidate(served: Mapping[int, int], schedule: Schedule, now: float) -> int | None:
    """The slot of the worker that is to become a mold, if it is time. `served` is how many requests each one
    has served.
    """
    if now < schedule.not_before or not served:
        return None
    index = max(served, key=lambda index: served[index])
    return index if served[index] >= schedule.requests else None


def succeeded(schedule: Schedule, served: int) -> Schedule:
    """The new mold forks the workers. It had served so many requests."""
    return Schedule(2 * max(schedule.requests, served))


def failed(schedule: Schedule, now: float) -> Schedule:
    """The mold is the former one."""
    pause_s = schedule.pause_s
    return replace(schedule, not_before=now + pause_s, pause_s=min(2 * pause_s, LONGEST_PAUSE_S))
