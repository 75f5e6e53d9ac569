"""Whether memory is short: a pure function of what the system says, with a memory of what it said before."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from prefork.pool.memory import Pressure

CALM_S = 10.0
"""Pressure is over when there was none for so long."""


@dataclass(frozen=True, slots=True)
class PressureState:
    """`high` is the count at the last call. `last` is when there was pressure last, `since` since when, in
    monotonic seconds; None: there is none.
    """

    high: int | None = None
    last: float = -math.inf
    since: float | None = None


def judge(pressure: Pressure, threshold: float, state: PressureState, now: float) -> PressureState:
    """Whether memory is short at `now`: then `since` of what is returned is not None.

    It is if the share of time is `threshold` percent, or the cgroup has reached its `memory.high`. Half as
    much keeps it short.
    """
    least = threshold if state.since is None else threshold / 2
    stalls = pressure.share is not None and pressure.share >= least
    reached = state.high is not None and pressure.high is not None and pressure.high > state.high
    state = replace(state, high=pressure.high)
    if stalls or reached:
        return replace(state, last=now, since=now if state.since is None else state.since)
    if state.since is not None and now - state.last >= CALM_S:
        return replace(state, since=None)
    return state
