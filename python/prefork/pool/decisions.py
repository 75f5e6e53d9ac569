"""What a pool has decided of late, and why: for its operator.

Owns: the last decisions, oldest first. A decision is a change of the number of workers, or 0 for one that
changes none, and its reason. The policy gives its own; the supervisor adds what it does for other reasons,
and how workers end that were not told to.

Plain data: times are those of the clock that it is given. It must not know the policy, nor decide.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

MOST = 50
"""So many are kept."""


IN_TURN = 2
"""So many series go on by turns: workers come, and others go."""


class Decision(NamedTuple):
    """So many workers more, or fewer if negative, and why."""

    change: int
    why: str
    series: str = ""
    """The steps of a series are kept as one decision with the reason of the first one: those of a reload of
    many workers would leave room for nothing else. Empty: it is no step.
    """


class Decisions:
    """`clock` tells the monotonic time, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: deque[tuple[float, Decision]] = deque(maxlen=MOST)
        self._held = ""

    def note(self, change: int, why: str) -> None:
        """Adds one. The same again that changes nothing takes the place of the last one."""
        self._add(Decision(change, why))

    def _add(self, made: Decision) -> None:
        if self._is_next_step(made):
            return
        change = made.change
        if not change and self._kept and self._kept[-1][1] == made:
            self._kept.pop()
        self._kept.append((self._clock(), made))

    def follow(self, made: Iterable[Decision], held: str) -> None:
        """Adds those of a plan. `held` is why the pool does not grow although spares are missing, or "": that
        is added when it begins.
        """
        for one in made:
            self._add(one)
        if held and held != self._held:
            self.note(0, held)
        self._held = held

    def _is_next_step(self, made: Decision) -> bool:
        """Whether it is another step of one of the last decisions, to which it is added then."""
        for place in range(-1, -1 - min(IN_TURN, len(self._kept)), -1):
            _, former = self._kept[place]
            if not former.series:
                return False
            if former.series == made.series:
                self._kept[place] = self._clock(), former._replace(change=former.change + made.change)
                return True
        return False

    def describe(self) -> list[dict[str, Any]]:
        """All that are kept, ready for JSON, the newest last. Ages are in seconds."""
        now = self._clock()
        return [
            {"age_s": round(max(0.0, now - made_at), 3), "change": change, "why": why}
            for made_at, (change, why, _) in self._kept
        ]
