"""How many workers there should be: a pure function of the workers there are.

`plan` takes the workers, the limits, the state that the last plan left and the time. It returns how many
workers to spawn and which to retire. It has no clock and no process, so a test simulates years of a pool's
life in seconds.

`plan` counts the workers once, and then decides five things from that census, each in a function:
`_grow` (too few spares), `_exceeding` (more workers than `max_clients`, which was lowered), `_shrink` (too
many spares), `_replace_outdated` (a reload is under way, or a worker is to be recycled) and `_overcommits`
(no spare is left, and none will come).

Always: never more than `max_clients` workers, but for those that are about to replace others; never more
slots than `capacity`; a busy worker is retired only to be replaced, never for surplus; a failure never costs
a running worker. A second call at the same moment changes nothing, once the first plan is carried out and
did not ask to be called again.

The caller carries out the whole plan before it calls again. It calls at `wake_at`, and when a worker has
booted, has taken one of the last spares, or has died. A worker that was signalled to retire is DRAINING
from that moment, whatever it writes on the scoreboard.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from prefork.pool.decisions import Decision
from prefork.pool.policy_state import (
    PolicyState,
    Replacement,
    forgiven,
    held_until,
    is_braked,
    is_failing,
)

LARGEST_BATCH = 32


class State(IntEnum):
    """What a slot of the scoreboard holds."""

    EMPTY = 0
    STARTING = 1
    SPARE = 2
    ACTIVE = 3
    DRAINING = 4


@dataclass(frozen=True, slots=True)
class Slot:
    """One worker. `since` is when it was spawned, in monotonic seconds.

    `outdated`: it is to be replaced although its generation is the newest, as by `recycling.py`.
    """

    index: int
    state: State
    generation: int
    since: float
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """While a canary lasts (`canary.py`): the newest generation has no more than `share` of the workers.

    It has one at least, and so has the old one, even in a pool of one worker. What the pool needs besides is
    of the generation `previous`. Other replacements wait.
    """

    share: float
    previous: int

    def most(self, live: int) -> int:
        """How many of `live` workers may be of the newest generation."""
        return max(1, math.ceil(self.share * live - 1e-9))  # 0.1 * 30 is more than 3


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What the operator has set. `check_interval` is in seconds; `generation` is that of new workers.

    Workers of any other generation are replaced, `rollout` of the pool at once: a share of its workers, and
    at least one. `trial`: only some are for now. `memory_is_short` is why `max_spare` is no more than
    `min_spare`.

    `capacity` is the number of slots. A draining worker occupies one too, and replacing a full pool needs one
    more, so `capacity` should exceed `max_clients`.
    """

    min_spare: int
    max_spare: int
    max_clients: int
    check_interval: float
    generation: int
    capacity: int
    rollout: float = 0.0
    trial: Trial | None = None
    memory_is_short: bool = False

    @property
    def fewest(self) -> int:
        """The pool grows below this number of spares. At least one: without spares no request is taken."""
        return max(1, self.min_spare)

    @property
    def most(self) -> int:
        """The pool shrinks above this number of spares. Never below `fewest`, or it would flap."""
        return max(self.fewest, self.max_spare)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now: spawn `spawn` workers of `generation`, and let the workers in the slots `retire` drain.

    `overcommit`: no worker is spare or about to be, so active workers must accept too. `may_grow`: there is
    room, so a worker that takes a spare should wake the manager. `state` is for the next plan. `wake_at` is
    when to call again at the latest, in monotonic seconds, or None.

    `decisions` say why: their changes add up to `spawn` less the workers to retire. `held` is why the pool
    does not grow although spares are missing, or "".
    """

    spawn: int
    generation: int
    retire: tuple[int, ...]
    overcommit: bool
    may_grow: bool
    state: PolicyState
    wake_at: float | None
    decisions: tuple[Decision, ...] = ()
    held: str = ""


def plan(slots: Sequence[Slot], limits: PoolLimits, state: PolicyState, now: float) -> Plan:
    """What the pool needs at `now` (monotonic seconds). `slots` may leave out the empty ones."""
    state = forgiven(state, now)
    census = _count(slots, limits.generation)
    free = _free(census, limits, state, now)
    room = max(0, min(free, limits.max_clients - census.live))

    growth = _grow(census, limits, state.batch, room)
    excess = _exceeding(census, limits, state.replacement)
    shrinking = _Shrinking((), None) if excess else _shrink(census, limits, state.surplus_since, now)
    if growth.spawn or shrinking.retire or excess:
        step = _Step(replacement=state.replacement)  # a reload waits until the pool has its size
    elif state.crashes:
        step = _replace_with_care(census, limits, state, free, now)
    else:
        step = _replace_outdated(census, limits, state.replacement, free, now)

    spawn = growth.spawn + step.spawn
    retire = excess or shrinking.retire or step.retire
    overcommit = _overcommits(census, spawn, retire, failing=is_failing(state))
    calls = [
        now if growth.unfinished or (census.outdated and (spawn or retire)) else math.inf,
        held_until(state, now) if growth.missing or census.outdated or state.crashes else math.inf,
        math.inf if shrinking.since is None else shrinking.since + limits.check_interval,
    ]
    return Plan(
        spawn=spawn,
        generation=limits.trial.previous if growth.spawn and limits.trial else limits.generation,
        retire=tuple(slot.index for slot in retire),
        overcommit=overcommit,
        may_grow=room > spawn,
        state=replace(state, batch=growth.batch, surplus_since=shrinking.since, replacement=step.replacement),
        wake_at=min(calls) if min(calls) < math.inf else None,
        decisions=(
            *_why_grow(growth, limits, state),
            *_why_shrink(census, limits, excess, shrinking),
            *_why_replace(census, limits, step),
        ),
        held=_why_held(census, limits, state, growth, overcommit=overcommit),
    )


def begin_replacement(state: PolicyState, since: float, live: int) -> PolicyState:
    """A worker of the new generation, spawned at `since`, has joined `live` others: a step is under way."""
    return replace(state, replacement=Replacement(since, live))


def is_hopeless(slots: Sequence[Slot], state: PolicyState, most_failed_boots: int) -> bool:
    """Whether no worker was ever ready, none is starting, and so many attempts have failed (0: no limit)."""
    tried = 0 < most_failed_boots <= state.failed_boots
    return tried and not state.has_booted and all(slot.state is not State.STARTING for slot in slots)


# --- the census ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Census:
    """The workers by state. `used` counts slots, draining workers too.

    `outdated` are the workers to replace: those of another generation than the newest, and those that are
    said to be. One that still boots is left to finish that first. `newest` is how many live ones are of the
    newest generation.
    """

    used: int
    starting: Sequence[Slot]
    spare: Sequence[Slot]
    active: Sequence[Slot]
    outdated: Sequence[Slot]
    newest: int

    @property
    def live(self) -> int:
        return len(self.starting) + len(self.spare) + len(self.active)


def _count(slots: Sequence[Slot], generation: int) -> _Census:
    by_state: dict[State, list[Slot]] = {state: [] for state in State}
    for slot in slots:
        by_state[slot.state].append(slot)
    starting, spare, active = by_state[State.STARTING], by_state[State.SPARE], by_state[State.ACTIVE]
    return _Census(
        used=len(slots) - len(by_state[State.EMPTY]),
        starting=starting,
        spare=spare,
        active=active,
        outdated=[slot for slot in (*spare, *active) if slot.outdated or slot.generation != generation],
        newest=sum(slot.generation == generation for slot in (*starting, *spare, *active)),
    )


def _free(census: _Census, limits: PoolLimits, state: PolicyState, now: float) -> int:
    """How many slots may be filled now, `max_clients` aside."""
    free = max(0, limits.capacity - census.used)
    if now < state.not_before:
        return 0
    if is_failing(state):  # one attempt at a time; while workers die early, it has to live
        is_tried = census.starting or (is_braked(state) and state.lives_at is not None)
        return 0 if is_tried else min(free, 1)
    return free


# --- the five questions ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Growth:
    """`missing` spares are. `unfinished`: these are more than this batch brings, and would fit."""

    spawn: int
    batch: int
    missing: int
    unfinished: bool


def _grow(census: _Census, limits: PoolLimits, batch: int, room: int) -> _Growth:
    """How many spares to add. Batches double while spares are missing, up to LARGEST_BATCH."""
    missing = limits.fewest - len(census.spare) - len(census.starting)
    spawn = max(0, min(missing, room, batch))
    if missing <= spawn:
        batch = 1
    elif spawn:
        batch = min(2 * batch, LARGEST_BATCH)
    return _Growth(spawn, batch, max(0, missing), unfinished=missing > spawn and room > spawn)


@dataclass(frozen=True, slots=True)
class _Shrinking:
    """The spare to retire, if any, and since when there have been too many."""

    retire: tuple[Slot, ...]
    since: float | None


def _shrink(census: _Census, limits: PoolLimits, since: float | None, now: float) -> _Shrinking:
    """Retires one spare for each interval in which there were too many all the time.

    So a short lull costs no worker. Outdated workers go first; among equals the youngest, which has the least
    to lose.
    """
    if len(census.spare) <= limits.most:
        return _Shrinking((), None)
    if since is None:
        return _Shrinking((), now)
    if now < since + limits.check_interval:
        return _Shrinking((), since)
    return _Shrinking(_least_needed(census, limits, 1), now)


def _exceeding(census: _Census, limits: PoolLimits, step: Replacement | None) -> tuple[Slot, ...]:
    """The spares beyond `max_clients`, after the operator has lowered it: they are retired at once.

    An active worker stays until it is spare. Those that are about to replace others are no excess.
    """
    coming = 0 if step is None else step.size - step.retired
    return _least_needed(census, limits, census.live - limits.max_clients - coming)


def _least_needed(census: _Census, limits: PoolLimits, count: int) -> tuple[Slot, ...]:
    """So many spares to retire, or fewer. While a canary lasts, both generations keep their share, and one
    worker at least.
    """

    def order(slot: Slot) -> tuple[bool, int, bool, float, int]:
        is_other = slot.generation != limits.generation
        return (is_other, -slot.generation, slot.outdated, slot.since, slot.index)

    count = max(0, count)
    leaving = sorted(census.spare, key=order, reverse=True)
    if limits.trial is None:
        return tuple(leaving[:count])
    of_new = min(count, max(0, census.newest - limits.trial.most(census.live - count)))
    of_old = min(count - of_new, max(0, census.live - census.newest - 1))
    new = [slot for slot in leaving if slot.generation == limits.generation]
    old = [slot for slot in leaving if slot.generation != limits.generation]
    return (*old[:of_old], *new[:of_new])


@dataclass(frozen=True, slots=True)
class _Step:
    """One move of a replacement, and the step that is under way after it."""

    spawn: int = 0
    retire: tuple[Slot, ...] = ()
    replacement: Replacement | None = None


def _replace_outdated(
    census: _Census, limits: PoolLimits, step: Replacement | None, free: int, now: float
) -> _Step:
    """Spawns new workers; for each one that has booted, retires an old one, a spare rather than an active."""
    if not census.outdated:
        return _Step()
    leaving = _leaving(census, limits)
    if step is not None:
        starts = sum(_joined(slot, step, limits) for slot in census.starting)
        joined = sum(_joined(slot, step, limits) for slot in (*census.spare, *census.active))
        # One that has made good for a worker that died retires no other.
        surplus = census.live - starts - step.live
        retire = leaving[: max(0, min(surplus, min(joined, step.size) - step.retired))]
        retired = step.retired + len(retire)
        goes_on = starts > 0 and retired < step.size
        if retire or goes_on:
            return _Step(retire=retire, replacement=replace(step, retired=retired) if goes_on else None)
    # The step is over: its workers have replaced others or made good for them, or have died.
    if (surge := census.live - limits.max_clients) > 0:
        return _Step(retire=leaving[:surge])  # a second reload overtook the first in the middle of a step
    spawn = min(_step_size(census, limits), free)
    return _Step(spawn=spawn, replacement=Replacement(now, census.live, spawn)) if spawn else _Step()


def _replace_with_care(
    census: _Census, limits: PoolLimits, state: PolicyState, free: int, now: float
) -> _Step:
    """As `_replace_outdated` while workers die early: no worker is retired for one that has not lived.

    One is spawned if none is there that may live. Otherwise new code that boots and then crashes would soon
    have the place of all workers that serve.
    """
    if census.outdated and (census.starting or state.lives_at is not None):
        return _Step(replacement=state.replacement)
    if census.outdated and census.live <= limits.max_clients:
        spawn = min(1, _step_size(census, limits), free)
        return _Step(spawn=spawn, replacement=Replacement(now, census.live, spawn)) if spawn else _Step()
    return _replace_outdated(census, limits, state.replacement, free, now)


def _leaving(census: _Census, limits: PoolLimits) -> tuple[Slot, ...]:
    """The workers that may be retired when others are ready, in that order."""
    outdated = census.outdated
    if limits.trial is not None:
        outdated = [slot for slot in outdated if slot.generation != limits.generation]
    order = sorted(outdated, key=lambda slot: (slot.state is not State.SPARE, slot.since, slot.index))
    return tuple(order if limits.trial is None else order[:-1])  # something has to be compared with


def _step_size(census: _Census, limits: PoolLimits) -> int:
    """How many workers are replaced at once."""
    left = len(census.outdated)
    if limits.trial is not None:
        left = limits.trial.most(census.live) - census.newest
    return max(0, min(left, max(1, math.ceil(limits.rollout * census.live - 1e-9))))


def _joined(slot: Slot, step: Replacement, limits: PoolLimits) -> bool:
    return slot.generation == limits.generation and slot.since >= step.since


def _overcommits(census: _Census, spawn: int, retire: Sequence[Slot], *, failing: bool) -> bool:
    """Whether no spare is left and none will come. While spawns fail, one that boots does not count."""
    spares = len(census.spare) - sum(slot.state is State.SPARE for slot in retire)
    coming = 0 if failing else len(census.starting) + spawn
    return not spares and not coming


# --- why -------------------------------------------------------------------------------------------------


def _why_grow(growth: _Growth, limits: PoolLimits, state: PolicyState) -> Iterator[Decision]:
    if growth.spawn:
        again = "; one is tried at a time, because workers fail" if is_failing(state) else ""
        yield Decision(growth.spawn, f"{_spares(growth.missing)} of {limits.fewest} missing{again}")


def _why_shrink(
    census: _Census, limits: PoolLimits, excess: Sequence[Slot], shrinking: _Shrinking
) -> Iterator[Decision]:
    if excess:
        above = census.live - limits.max_clients
        yield Decision(-len(excess), f"{_workers(above)} above max_clients {limits.max_clients}")
    elif shrinking.retire:
        above = len(census.spare) - limits.most
        short = ", because memory is short" if limits.memory_is_short else ""
        why = f"{_spares(above)} above the maximum of {limits.most}{short}"
        yield Decision(-len(shrinking.retire), why)


def _why_replace(census: _Census, limits: PoolLimits, step: _Step) -> Iterator[Decision]:
    if not step.spawn and not step.retire:
        return
    if limits.trial is not None:
        cause = f"a canary's share, {limits.trial.share:.0%} of generation {limits.generation}"
    elif any(slot.generation != limits.generation for slot in step.retire or census.outdated):
        cause = f"generation {limits.generation}"
    else:
        cause = ""
    if step.spawn:
        outdated = _workers(len(census.outdated))
        why = f"to replace {outdated}: {cause}" if cause else f"to recycle {outdated}"
        yield Decision(step.spawn, why, f"to replace: {cause}" if cause else "")
    if step.retire:
        why = f"replaced: {cause}" if cause else "recycled"
        yield Decision(-len(step.retire), why, why if cause else "")


def _why_held(
    census: _Census, limits: PoolLimits, state: PolicyState, growth: _Growth, *, overcommit: bool
) -> str:
    if not growth.missing or growth.spawn:
        return ""
    if census.live >= limits.max_clients:
        cause = f"max_clients {limits.max_clients} is reached"
    elif census.used >= limits.capacity:
        cause = "every slot of the scoreboard is in use: draining workers have to end"
    elif is_failing(state):
        cause = "workers fail: the next one is tried later"
    else:
        return ""
    return f"spares are missing, but {cause}" + ("; active workers accept too" if overcommit else "")


def _spares(count: int) -> str:
    return "1 spare" if count == 1 else f"{count} spares"


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"
