"""The life of a pool, simulated: what its policy makes of requests. docs/policy.md shows two of them.

Only the policy is real. A fork takes the manager FORK_S and a worker START_S until it is ready: about what
they take on a small machine. A worker serves one request at a time, and what waits is served in order.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from prefork.pool.policy import Plan, PoolLimits, Slot, State, plan
from prefork.pool.policy_state import PolicyState, booted

FORK_S = 0.001
START_S = 0.004


@dataclass(frozen=True)
class Request:
    """It comes at `at_s`, and takes `takes_s` of a worker."""

    at_s: float
    takes_s: float


@dataclass(frozen=True)
class Moment:
    """The pool from `at_s` on: busy workers, idle ones, those that start, and requests that wait."""

    at_s: float
    active: int
    spare: int
    starting: int
    waiting: int

    @property
    def workers(self) -> int:
        return self.active + self.spare + self.starting


class Happens(Enum):
    COMES = auto()
    ENDS = auto()
    STARTS = auto()
    LOOKS = auto()


@dataclass
class Simulation:
    """A pool of `spares` idle workers at the time 0."""

    limits: PoolLimits
    spares: int
    now: float = 0.0
    moments: list[Moment] = field(default_factory=list)
    _slots: dict[int, Slot] = field(default_factory=dict)
    _state: PolicyState = field(default_factory=PolicyState)
    _waiting: deque[Request] = field(default_factory=deque)
    _events: list[tuple[float, int, Happens, int, float]] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)

    def run(self, requests: Iterable[Request], until_s: float) -> list[Moment]:
        """What the pool was, from each change to the next."""
        for index in range(self.spares):
            self._slots[index] = Slot(index, State.SPARE, self.limits.generation, 0.0)
        for request in requests:
            self._at(request.at_s, Happens.COMES, takes_s=request.takes_s)
        self._at(0.0, Happens.LOOKS)
        while self._events and self._events[0][0] <= until_s:
            self.now, _, what, index, takes_s = heapq.heappop(self._events)
            self._happens(what, index, takes_s)
            self._serve()
            self._carry_out()
            self._note()
        return self.moments

    def _at(self, at_s: float, what: Happens, index: int = -1, takes_s: float = 0.0) -> None:
        heapq.heappush(self._events, (at_s, next(self._order), what, index, takes_s))

    def _happens(self, what: Happens, index: int, takes_s: float) -> None:
        match what:
            case Happens.COMES:
                self._waiting.append(Request(self.now, takes_s))
            case Happens.ENDS:
                self._turn(index, State.SPARE)
            case Happens.STARTS:
                self._turn(index, State.SPARE)
                self._state = booted(self._state, self.now)
            case Happens.LOOKS:
                pass

    def _turn(self, index: int, state: State) -> None:
        self._slots[index] = replace(self._slots[index], state=state)

    def _serve(self) -> None:
        spare = [index for index, slot in self._slots.items() if slot.state is State.SPARE]
        while self._waiting and spare:
            index = spare.pop(0)
            self._turn(index, State.ACTIVE)
            self._at(self.now + self._waiting.popleft().takes_s, Happens.ENDS, index)

    def _carry_out(self) -> None:
        """What the policy plans, until it has no more to say at this moment."""
        forks = itertools.count(1)
        while True:
            planned: Plan = plan(list(self._slots.values()), self.limits, self._state, self.now)
            self._state = planned.state
            for _ in range(planned.spawn):
                index = max(self._slots, default=-1) + 1
                self._slots[index] = Slot(index, State.STARTING, self.limits.generation, self.now)
                self._at(self.now + next(forks) * FORK_S + START_S, Happens.STARTS, index)
            for index in planned.retire:
                del self._slots[index]
            if planned.wake_at is None:
                return
            if planned.wake_at > self.now:
                self._at(planned.wake_at, Happens.LOOKS)
                return

    def _note(self) -> None:
        states = [slot.state for slot in self._slots.values()]
        moment = Moment(
            at_s=self.now,
            active=states.count(State.ACTIVE),
            spare=states.count(State.SPARE),
            starting=states.count(State.STARTING),
            waiting=len(self._waiting),
        )
        if self.moments and self.moments[-1].at_s == self.now:
            del self.moments[-1]
        self.moments.append(moment)


def burst() -> list[Moment]:
    """30 requests of a second each come within 10 ms to a pool of five spares."""
    limits = PoolLimits(5, 10, 48, check_interval=1.0, generation=1, capacity=96)
    return Simulation(limits, 5).run([Request(0.005 + number / 3000, 1.0) for number in range(30)], 0.06)


def wave() -> list[Moment]:
    """Requests of two seconds come ever more often for 20 s, and then ever less."""
    limits = PoolLimits(5, 10, 48, check_interval=1.0, generation=1, capacity=96)
    requests, at_s = [], 0.0
    while at_s < 40.0:
        requests.append(Request(at_s, 2.0))
        per_s = 1.0 + 14.0 * max(0.0, 1.0 - abs(at_s - 20.0) / 16.0)
        at_s += 1.0 / per_s
    return Simulation(limits, 10).run(requests, 50.0)
