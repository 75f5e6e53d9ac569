"""What a load balancer is told of this node: how much of the work to send here, or none.

Pure: what the pool had at moments of the last seconds, and what follows from that. It must know no socket,
no clock and no protocol but the words of HAProxy's agent check.

The weight is a share of what the balancer has for this node when it is idle. It is an average over WINDOW_S:
a balancer that follows each moment sends everything to the node that was idle a second ago, which is then
the busy one, and the work goes back and forth. With an average of ten times that long it settles, up to nine
tenths of what all nodes can do.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass

WINDOW_S = 10.0
"""For how long the average is taken."""
FEWEST_PERCENT = 5
"""What a node without a free worker has. HAProxy multiplies it by the weight in its configuration and rounds
down, and 0 takes the node out: from a weight of 20 on it stays in."""
UNREADY_S = 1.0
"""A node is down when no worker was ready for so long: one that ends is replaced within milliseconds."""
READY_S = 60.0
"""For how long a balancer that may have been told otherwise is told that the node is back."""
MOST_BALANCERS = 256


class Standing(enum.Enum):
    """Whether the node takes work. The value is the word for a balancer."""

    SERVES = "up"
    LEAVES = "drain"
    """Its workers finish what they have."""
    PAUSED = "maint"
    """It has no worker, until an operator resumes it."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A pool at one moment.

    `most` is how many workers it may have, `can_grow` whether more can be spawned now. `waiting` is how many
    connections no worker has taken.
    """

    at_s: float
    spare: int
    active: int
    most: int
    can_grow: bool = True
    waiting: int = 0

    @property
    def is_ready(self) -> bool:
        """Whether there is a worker that serves."""
        return self.spare + self.active > 0

    @property
    def free_share(self) -> float:
        """The workers that could begin a request, of those that there may be: a spare, or one that is spawned
        for it. Those for which something waits already are none.
        """
        free = self.most - self.active if self.can_grow else self.spare
        return max(0.0, min(1.0, (free - self.waiting) / max(1, self.most)))


def percent(moments: Iterable[Moment], now_s: float) -> int:
    """The weight, from FEWEST_PERCENT to 100."""
    shares = [one.free_share for one in moments if one.at_s > now_s - WINDOW_S]
    average = math.fsum(shares) / len(shares) if shares else 0.0
    return max(FEWEST_PERCENT, round(100 * average))


def is_unready(moments: Iterable[Moment], now_s: float) -> bool:
    """Whether no worker was ready in the last UNREADY_S."""
    return not any(one.is_ready for one in moments if one.at_s > now_s - UNREADY_S)


def line_for(standing: Standing, moments: Iterable[Moment], now_s: float, *, is_back: bool) -> str:
    """What a balancer is told. `is_back`: it may have been told before that the node takes no work.

    HAProxy keeps `drain` and `maint` until it is told `ready`, and `down` until it is told `up`. It is told
    `ready` only then: that would also undo what an operator has set in HAProxy itself.
    """
    word: str = standing.value
    if standing is not Standing.SERVES:
        return word
    moments = list(moments)
    back = " ready" if is_back else ""
    if is_unready(moments, now_s):
        return f"down{back} #no worker is ready"
    return f"{word} {percent(moments, now_s)}%{back}"


class Balancers:
    """Which balancers have been told that the node is back: each for READY_S, because several processes may
    ask from one address, and what is sent may be lost.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, float]] = {}
        """When each asked last, and until when it is told, by its address. That which asked last is last."""

    def is_back(self, address: str, since_s: float, now_s: float) -> bool:
        """Whether the balancer, which asks now, is told. The node serves since `since_s`.

        One that is new here, or has not asked for a while, may have heard anything meanwhile.
        """
        asked_s, until_s = self._known.pop(address, (-math.inf, -math.inf))
        if now_s - asked_s > READY_S:
            until_s = now_s + READY_S
        until_s = max(until_s, since_s + READY_S)
        self._known[address] = now_s, until_s
        if len(self._known) > MOST_BALANCERS:
            del self._known[next(iter(self._known))]
        return now_s < until_s

    def recent(self, within_s: float, now_s: float) -> list[str]:
        """The addresses of those that have asked within this time."""
        return [address for address, (asked_s, _) in self._known.items() if now_s - asked_s < within_s]
