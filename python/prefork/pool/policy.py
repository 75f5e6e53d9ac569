"""How many workers there should be: a pure function of what there is.

`plan` is given the workers, the limits, what it remembered and the time, and says how many to fork and which
to retire. It owns no clock, no process and no memory of its own, so that years of a pool's life are a test of
seconds.

Always: never more than `max_clients` workers, but for one that is about to replace another; never more slots
than `capacity`; a busy worker is retired only to be replaced, never for surplus; what runs is kept whatever
fails. To call it again at once changes nothing once its plan is carried out and it asks for nothing more.

The caller carries out the whole plan before it asks again, and asks: at `wake_at`, and when a worker has
booted, was taken as one of the last spares, or has died. A worker that was told to retire is DRAINING to it
from that moment, whatever the worker itself says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

LARGEST_BATCH = 32
FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 30.0


class State(IntEnum):
    """What a slot of the scoreboard holds."""

    EMPTY = 0
    STARTING = 1
    SPARE = 2
    ACTIVE = 3
    DRAINING = 4


@dataclass(frozen=True, slots=True)
class Slot:
    """One worker. `since` is when it was forked, in monotonic seconds."""

    index: int
    state: State
    generation: int
    since: float


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What the operator wants. `check_interval` is in seconds; `generation` is that of new workers.

    `capacity` is the number of slots. Workers that drain occupy one too, and replacing a full pool needs one
    more, so it should exceed `max_clients`.
    """

    min_spare: int
    max_spare: int
    max_clients: int
    check_interval: float
    generation: int
    capacity: int

    @property
    def fewest(self) -> int:
        """Spares below this are too few. At least one: without any, nobody would take a request."""
        return max(1, self.min_spare)

    @property
    def most(self) -> int:
        """Spares above this are too many. Never below `fewest`, or the pool would fork and retire in turn."""
        return max(self.fewest, self.max_spare)


@dataclass(frozen=True, slots=True)
class Replacement:
    """A step of a reload: at `since` a worker of the new generation was forked to join `live` others."""

    since: float
    live: int


@dataclass(frozen=True, slots=True)
class PolicyState:
    """What one plan tells the next. `failures` counts forks and boots that failed with no success since."""

    batch: int = 1
    surplus_since: float | None = None
    replacement: Replacement | None = None
    failures: int = 0
    not_before: float = -math.inf


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now: fork `spawn` workers, let the workers in the slots `retire` drain.

    `overcommit`: nobody is spare or about to be, so active workers must accept too. `may_grow`: there is
    room, so the manager wants to hear of a taken spare. `wake_at`: when to ask again at the latest, in
    monotonic seconds, or None.
    """

    spawn: int
    retire: tuple[int, ...]
    overcommit: bool
    may_grow: bool
    memory: PolicyState
    wake_at: float | None


@dataclass(slots=True)
class _Census:
    used: int = 0
    live: int = 0
    starting: list[Slot] = field(default_factory=list)
    spare: list[Slot] = field(default_factory=list)
    active: list[Slot] = field(default_factory=list)

    def outdated(self, generation: int) -> list[Slot]:
        """Those that a reload replaces. One that still boots is left to finish that first."""
        return [slot for slot in (*self.spare, *self.active) if slot.generation < generation]


def plan(slots: Sequence[Slot], limits: PoolLimits, memory: PolicyState, now: float) -> Plan:
    """What the pool needs at `now` (monotonic seconds). `slots` may leave out the empty ones."""
    census = _count(slots)
    outdated = census.outdated(limits.generation)
    free = _free(census, limits, memory, now)
    room = max(0, min(free, limits.max_clients - census.live))

    wanted = limits.fewest - len(census.spare) - len(census.starting)
    spawn = max(0, min(wanted, room, memory.batch))
    more = wanted > spawn and room > spawn
    batch = 1 if wanted <= spawn else min(2 * memory.batch, LARGEST_BATCH) if spawn else memory.batch

    retired, surplus_since = _shrink(census, limits, memory.surplus_since, now)
    replacement = memory.replacement
    if not spawn and retired is None:
        spawn, retired, replacement = _replace(census, limits, outdated, replacement, free, now)

    spares = len(census.spare) - (retired is not None and retired.state is State.SPARE)
    coming = 0 if memory.failures else len(census.starting) + spawn
    calls = [
        now if more or (outdated and (spawn or retired)) else math.inf,
        memory.not_before if now < memory.not_before and (wanted > 0 or outdated) else math.inf,
        surplus_since + limits.check_interval if surplus_since is not None else math.inf,
    ]
    return Plan(
        spawn=spawn,
        retire=() if retired is None else (retired.index,),
        overcommit=not spares and not coming,
        may_grow=room > spawn,
        memory=replace(memory, batch=batch, surplus_since=surplus_since, replacement=replacement),
        wake_at=min(calls) if min(calls) < math.inf else None,
    )


def fork_failed(memory: PolicyState, now: float) -> PolicyState:
    """No process could be made: nothing is forked for a while, and then one at a time until one boots."""
    return _back_off(replace(memory, replacement=None), now)


def boot_failed(memory: PolicyState, now: float) -> PolicyState:
    """A worker died before it was spare: as `fork_failed`."""
    return _back_off(memory, now)


def booted(memory: PolicyState) -> PolicyState:
    """A worker became spare: whatever was wrong is over."""
    return replace(memory, failures=0, not_before=-math.inf)


def _back_off(memory: PolicyState, now: float) -> PolicyState:
    if now < memory.not_before:
        return memory  # a batch that fails together is one failure
    delay_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(memory.failures, 16))
    return replace(memory, batch=1, failures=memory.failures + 1, not_before=now + delay_s)


def _count(slots: Sequence[Slot]) -> _Census:
    census = _Census()
    kinds = {State.STARTING: census.starting, State.SPARE: census.spare, State.ACTIVE: census.active}
    for slot in slots:
        if slot.state is not State.EMPTY:
            census.used += 1
            if slot.state is not State.DRAINING:
                kinds[slot.state].append(slot)
    census.live = len(census.starting) + len(census.spare) + len(census.active)
    return census


def _free(census: _Census, limits: PoolLimits, memory: PolicyState, now: float) -> int:
    """How many slots may be filled now, `max_clients` aside."""
    free = max(0, limits.capacity - census.used)
    if now < memory.not_before:
        return 0
    if memory.failures:
        return min(free, 1) if not census.starting else 0  # one probe at a time
    return free


def _shrink(
    census: _Census, limits: PoolLimits, since: float | None, now: float
) -> tuple[Slot | None, float | None]:
    """The spare to retire, if any, and since when there are too many.

    One for each interval in which there were too many all the time: a short lull costs no worker. Outdated
    ones go first; among equals the youngest, which has the least to lose.
    """
    if len(census.spare) <= limits.most:
        return None, None
    if since is None:
        return None, now
    if now < since + limits.check_interval:
        return None, since
    return max(census.spare, key=lambda slot: (-slot.generation, slot.since, slot.index)), now


def _replace(
    census: _Census,
    limits: PoolLimits,
    outdated: list[Slot],
    step: Replacement | None,
    free: int,
    now: float,
) -> tuple[int, Slot | None, Replacement | None]:
    """One move of a reload: how many to fork, which outdated worker to retire, and the step under way.

    First a new worker is forked; only when it has booted goes an old one, a spare rather than an active.
    """
    if not outdated:
        return 0, None, None
    leaving = min(outdated, key=lambda slot: (slot.state is not State.SPARE, slot.since, slot.index))
    if step is not None:
        if any(_joined(slot, step, limits) for slot in (*census.spare, *census.active)):
            if census.live > step.live:
                return 0, leaving, None
        elif any(_joined(slot, step, limits) for slot in census.starting):
            return 0, None, step
    # The step is over: it has made good for a worker that died, its own worker died, or there was none.
    if census.live > limits.max_clients:
        return 0, leaving, None  # a second reload overtook the first in the middle of a step
    return (1, None, Replacement(now, census.live)) if free else (0, None, None)


def _joined(slot: Slot, step: Replacement, limits: PoolLimits) -> bool:
    return slot.generation >= limits.generation and slot.since >= step.since
