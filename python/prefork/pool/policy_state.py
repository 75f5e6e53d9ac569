"""What one plan of the policy leaves for the next, and how failures change it: when a worker may be spawned.

Three things fail. A process cannot be made (`fork_failed`), a worker ends before it is ready (`boot_failed`),
or as soon as it is (`died_early`). Each makes the next attempts wait, ever longer, one at a time; a success
ends that. What is a success differs: for the last one a worker has to live for a while.

Always: functions of a state and the time, which know no worker and no limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 30.0

EARLY_S = 1.0
"""A worker that dies so soon after it was ready may have the fault of all. One that is ready for so long
lives."""

FREE_CRASHES = 3
"""So many workers in a row may die as soon as they are ready, and are replaced at once."""

LONGEST_CRASH_PAUSE_S = 1.0
"""Between the others. No longer: what crashes them may be requests, and other requests wait meanwhile."""

STARTS = 10
"""If starts take long, the pause is up to so many times what one takes: they are no more than a share of the
time."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """A step: at `since`, `size` workers of the newest generation were spawned, to join `live` others.

    `retired` of those have been retired for them.
    """

    since: float
    live: int
    size: int = 1
    retired: int = 0


@dataclass(frozen=True, slots=True)
class PolicyState:
    """What one plan leaves for the next.

    `batch` is how many workers may be spawned at once. `surplus_since` is since when there have been too many
    spares. `failures` counts the spawns and boots that failed since the last success; nothing is spawned
    before `not_before`. `has_booted` is whether a worker was ever ready; `failed_boots` counts the boots
    among the failures. A batch that fails together is one failure.

    `crashes` counts the workers that died as soon as they were ready, since one has lived. `lives_at` is when
    the first one that has been ready since will have lived for EARLY_S.
    """

    batch: int = 1
    surplus_since: float | None = None
    replacement: Replacement | None = None
    failures: int = 0
    not_before: float = -math.inf
    has_booted: bool = False
    failed_boots: int = 0
    crashes: int = 0
    lives_at: float | None = None


def fork_failed(state: PolicyState, now: float) -> PolicyState:
    """No process could be made: spawn nothing for a while, and then one at a time until one boots."""
    return _back_off(replace(state, replacement=None), now)


def boot_failed(state: PolicyState, now: float) -> PolicyState:
    """A worker died before it was spare: as `fork_failed`."""
    after = _back_off(state, now)
    return state if after is state else replace(after, failed_boots=state.failed_boots + 1)


def died_early(
    state: PolicyState, now: float, start_s: float = 0.0, *, was_ready: bool = True
) -> PolicyState:
    """A worker died as soon as it was spare: the next one may do the same. Its start took `start_s`.

    The first ones are replaced at once. After FREE_CRASHES in a row one worker is tried at a time, after a
    pause that doubles, until one has lived for EARLY_S. That one was ready is no success here: each of them
    is. `was_ready` False: it left before it was spare, without a failure.
    """
    state = forgiven(state, now)
    state = replace(state, lives_at=None, has_booted=state.has_booted or was_ready)
    if now < state.not_before:
        return state
    state = replace(state, crashes=state.crashes + 1)
    if not is_braked(state):
        return state
    longest_s = max(LONGEST_CRASH_PAUSE_S, STARTS * start_s)
    return replace(
        state, batch=1, not_before=now + min(longest_s, _pause_s(state.crashes - FREE_CRASHES - 1))
    )


def is_braked(state: PolicyState) -> bool:
    """Whether workers die so soon after they are ready that they are spawned with pauses."""
    return state.crashes > FREE_CRASHES


def is_failing(state: PolicyState) -> bool:
    """Whether a worker that is spawned is not expected to serve."""
    return state.failures > 0 or is_braked(state)


def booted(state: PolicyState, now: float) -> PolicyState:
    """A worker became spare: the failures are over. Whether it lives is another question."""
    lives_at = now + EARLY_S if state.crashes and state.lives_at is None else state.lives_at
    return replace(may_spawn(state), failed_boots=0, has_booted=True, lives_at=lives_at)


def may_spawn(state: PolicyState) -> PolicyState:
    """What made spawns fail is over: the next one need not wait."""
    return replace(state, failures=0, not_before=state.not_before if is_braked(state) else -math.inf)


def forgiven(state: PolicyState, now: float) -> PolicyState:
    """The state without crashes, if a worker has lived since the last one."""
    if state.lives_at is None or now < state.lives_at:
        return state
    not_before = state.not_before if state.failures else -math.inf
    return replace(state, crashes=0, lives_at=None, not_before=not_before)


def held_until(state: PolicyState, now: float) -> float:
    """Until when what is wanted is held back, but for workers that start; infinity if it is not."""
    if now < state.not_before:
        return state.not_before
    return math.inf if state.lives_at is None else state.lives_at


def _back_off(state: PolicyState, now: float) -> PolicyState:
    if now < state.not_before:
        return state  # a batch that fails together is one failure
    not_before = now + _pause_s(state.failures)
    return replace(state, batch=1, failures=state.failures + 1, not_before=not_before)


def _pause_s(former: int) -> float:
    """The pause after a failure that so many others came before."""
    return min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(former, 16))
