"""What a pool has at one moment and what it wants, in figures and in sentences: for its operator.

Pure: a snapshot that the manager takes, and what follows from it. It must not know processes or clocks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefork.pool import policy, policy_state
from prefork.pool.policy import PoolLimits, Slot, State
from prefork.pool.policy_state import EARLY_S, PolicyState

LIVE = (State.STARTING, State.SPARE, State.ACTIVE)


@dataclass(frozen=True, slots=True)
class Overview:
    """A pool at `now`, in monotonic seconds.

    `phase` says how many workers there should be; `keeps` is whether that is as many as the policy wants.
    `pids` are those of the slots in use. `forking` is how many workers are requested and have not come.
    """

    phase: str
    keeps: bool
    slots: Sequence[Slot]
    pids: Mapping[int, int]
    forking: int
    limits: PoolLimits
    state: PolicyState
    now: float

    def count(self, *states: State) -> int:
        """How many workers are in one of these states."""
        found = Counter(slot.state for slot in self.slots)
        return sum(found[state] for state in states)

    @property
    def live(self) -> int:
        """The workers that do not drain."""
        return self.count(*LIVE)

    @property
    def missing(self) -> int:
        """How many spares the pool has too few, up to `max_clients`. One that starts is none yet."""
        limits, spare = self.limits, self.count(State.SPARE)
        room = limits.max_clients - spare - self.count(State.ACTIVE)
        return max(0, min(limits.fewest - spare, room))

    @property
    def surplus(self) -> int:
        """How many workers are too many: spares beyond the maximum, or workers beyond `max_clients`."""
        spares = self.count(State.STARTING, State.SPARE) - self.limits.most
        return max(0, spares, self.live - self.limits.max_clients)

    @property
    def live_pids(self) -> set[int]:
        """The workers that do not drain, without those that are being forked."""
        live = {slot.index for slot in self.slots if slot.state in LIVE}
        return {pid for index, pid in self.pids.items() if index in live}

    @property
    def outdated(self) -> int:
        """The workers that are to be replaced."""
        generation = self.limits.generation
        return sum(
            slot.state in LIVE and (slot.outdated or slot.generation != generation) for slot in self.slots
        )

    @property
    def is_reloading(self) -> bool:
        """Whether there are workers of another generation than the newest."""
        return any(slot.state in LIVE and slot.generation != self.limits.generation for slot in self.slots)

    @property
    def is_failing(self) -> bool:
        """Whether workers cannot be forked, do not start, or end as soon as they are ready."""
        return policy_state.is_failing(self.state)


def figures(pool: Overview) -> dict[str, Any]:
    """What decides how many workers there are, ready for JSON. Times are in seconds from now."""
    limits, state, now = pool.limits, pool.state, pool.now
    found: dict[str, Any] = {
        "phase": pool.phase,
        "workers": {one.name.lower(): pool.count(one) for one in State if one},
        "forking": pool.forking,
        "limits": {
            "min_spare": limits.fewest,
            "max_spare": limits.most,
            "max_clients": limits.max_clients,
            "check_spares_interval": limits.check_interval,
            "slots": limits.capacity,
        },
        "generation": limits.generation,
        "outdated": pool.outdated,
        "missing": pool.missing,
        "surplus": pool.surplus,
        "surplus_for_s": None if state.surplus_since is None else round(now - state.surplus_since, 3),
        "failures": state.failures,
        "crashes": state.crashes,
        "retry_in_s": round(max(0.0, state.not_before - now), 3) if pool.is_failing else None,
        "next": None,
    }
    if pool.keeps and not pool.forking:
        plan = policy.plan(pool.slots, limits, state, now)
        found["next"] = {
            "spawn": plan.spawn,
            "retire": [pool.pids.get(index) for index in plan.retire],
            "overcommit": plan.overcommit,
            "may_grow": plan.may_grow,
            "within_s": round(min(_left(plan.wake_at, now), limits.check_interval), 3),
        }
    return found


def explain(pool: Overview) -> list[str]:
    """Why the pool has the size that it has, and what happens next."""
    if not pool.keeps:
        return [f"workers: {pool.phase}", _census(pool)]
    return [_census(pool), *_spares(pool), *_obstacles(pool), *_replacing(pool), _next(pool)]


def _census(pool: Overview) -> str:
    parts = [f"{pool.count(state)} {state.name.lower()}" for state in LIVE]
    line = f"{pool.live} workers, maximum {pool.limits.max_clients}: {', '.join(parts)}"
    if draining := pool.count(State.DRAINING):
        line += f"; {draining} more drain, and do not count"
    return line


def _spares(pool: Overview) -> list[str]:
    limits = pool.limits
    coming = pool.count(State.STARTING)
    has = f"{pool.count(State.SPARE)} spare" + (f" and {coming} starting" if coming else "")
    wanted = f"{limits.fewest} to {limits.most} are wanted"
    if missing := max(0, pool.missing - coming):
        return [f"{has}, {wanted}: {missing} missing"]
    if pool.surplus and pool.live <= limits.max_clients:
        since = pool.state.surplus_since
        left_s = (
            limits.check_interval if since is None else max(0.0, since + limits.check_interval - pool.now)
        )
        each = f"one retires each {limits.check_interval:g} s if there are too many all that time"
        return [f"{has}, {wanted}: {pool.surplus} too many; {each}, the next in {left_s:.1f} s"]
    return [f"{has}, {wanted}"]


def _obstacles(pool: Overview) -> list[str]:
    """What keeps the pool from its size."""
    limits, state = pool.limits, pool.state
    found = []
    if pool.live > limits.max_clients:
        found.append(
            f"{pool.live - limits.max_clients} more than max_clients: spares retire at once, the others "
            "when they are spare"
        )
    elif pool.live == limits.max_clients and pool.count(State.SPARE) < limits.fewest:
        found.append("max_clients is reached: no worker is added before another one ends")
    if len(pool.slots) >= limits.capacity:
        found.append(
            f"all {limits.capacity} slots of the scoreboard are in use: draining workers have to end"
        )
    if limits.memory_is_short:
        found.append("memory is short: no more spares than min_spare are kept")
    left_s = max(0.0, state.not_before - pool.now)
    if state.failures:
        found.append(
            f"the last {state.failures} attempts to start a worker have failed (the log says why): the next "
            f"one is in {left_s:.1f} s"
        )
    elif policy_state.is_braked(state):
        found.append(
            f"the last {state.crashes} workers ended as soon as they were ready (the log says how): one is "
            f"tried at a time until one lives for {EARLY_S:g} s"
            + (f", the next one in {left_s:.1f} s" if left_s else "")
        )
    return found


def _replacing(pool: Overview) -> list[str]:
    if outdated := pool.outdated:
        share = pool.limits.rollout
        at_once = f"{share * 100:g} % of the pool at once" if share else "one after the other"
        return [
            f"{outdated} of them are to be replaced, {at_once}: a new worker of generation "
            f"{pool.limits.generation} first, and when it is ready an old one drains"
        ]
    return []


def _next(pool: Overview) -> str:
    if pool.forking:
        return f"next: {pool.forking} workers are being forked"
    plan = policy.plan(pool.slots, pool.limits, pool.state, pool.now)
    steps = []
    if plan.spawn:
        steps.append(f"{plan.spawn} workers are forked")
    if plan.retire:
        pids = ", ".join(str(pool.pids.get(index, "?")) for index in plan.retire)
        steps.append(f"worker {pids} drains")
    if plan.overcommit:
        steps.append("active workers accept too, because no spare is left and none will come (overcommit)")
    within_s = min(_left(plan.wake_at, pool.now), pool.limits.check_interval)
    then = "; ".join(steps) or "nothing"
    return f"next: {then}; the pool is looked at again within {within_s:.1f} s"


def _left(moment: float | None, now: float) -> float:
    return math.inf if moment is None else max(0.0, moment - now)
