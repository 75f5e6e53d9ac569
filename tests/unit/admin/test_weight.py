"""What a balancer is told of a node, and what two nodes make of that together."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.admin.weight import (
    FEWEST_PERCENT,
    MOST_BALANCERS,
    READY_S,
    WINDOW_S,
    Balancers,
    Moment,
    Standing,
    is_unready,
    line_for,
    percent,
)

NOW_S = 1000.0


def at(
    spare: int, active: int, most: int, *, ago_s: float = 0.0, can_grow: bool = True, waiting: int = 0
) -> Moment:
    return Moment(NOW_S - ago_s, spare, active, most, can_grow, waiting)


def tell(*moments: Moment, standing: Standing = Standing.SERVES, is_back: bool = False) -> str:
    return line_for(standing, moments, NOW_S, is_back=is_back)


# --- one moment --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "weight"),
    [
        (at(8, 0, 8), 100),
        (at(5, 3, 8), 62),
        (at(1, 7, 8), 12),
        (at(0, 8, 8), FEWEST_PERCENT),
        (at(5, 3, 256), 99),  # what it may spawn within milliseconds counts as what it has
        (at(5, 3, 256, can_grow=False), FEWEST_PERCENT),  # but not if that fails
        (at(4, 4, 8, waiting=2), 25),
        (at(4, 4, 8, waiting=1000), FEWEST_PERCENT),
        (at(0, 8, 8, waiting=1000), FEWEST_PERCENT),
        (at(1, 9, 8), FEWEST_PERCENT),  # while workers are replaced there may be more of them
        (at(9, 1, 8), 88),
        (at(1, 0, 1), 100),
    ],
)
def test_the_weight_is_the_share_of_workers_that_could_begin_a_request(moment: Moment, weight: int) -> None:
    assert tell(moment) == f"up {weight}%"


@given(
    spare=st.integers(0, 10_000),
    active=st.integers(0, 10_000),
    most=st.integers(1, 10_000),
    waiting=st.integers(0, 1 << 40),
    can_grow=st.booleans(),
)
def test_the_weight_is_never_one_that_takes_the_node_out(
    spare: int, active: int, most: int, waiting: int, can_grow: bool
) -> None:
    moment = Moment(NOW_S, spare, active, most, can_grow, waiting)
    assert FEWEST_PERCENT <= percent([moment], NOW_S) <= 100
    for configured in (20, 100, 256):
        assert configured * percent([moment], NOW_S) // 100 > 0  # as HAProxy rounds it


@given(st.integers(1, 500), st.data())
def test_more_work_never_means_more_weight(most: int, data: st.DataObject) -> None:
    active = data.draw(st.integers(0, most))
    more = data.draw(st.integers(active, most))
    waiting = data.draw(st.integers(0, most))
    idle = percent([at(most - active, active, most)], NOW_S)
    assert idle >= percent([at(most - more, more, most, waiting=waiting)], NOW_S)


# --- several moments ---------------------------------------------------------------------------------------


def test_the_weight_is_an_average_over_the_window() -> None:
    idle = [at(4, 0, 4, ago_s=1), at(4, 0, 4, ago_s=2)]
    assert tell(*idle, at(0, 4, 4)) == "up 67%"
    assert tell(*idle, at(0, 4, 4, waiting=4)) == "up 67%"
    former = at(4, 0, 4, ago_s=WINDOW_S)
    assert tell(former, at(0, 4, 4)) == f"up {FEWEST_PERCENT}%"


def test_a_node_is_down_when_no_worker_was_ready_for_a_second() -> None:
    assert tell(at(0, 0, 4)) == "down #no worker is ready"
    assert tell(at(0, 0, 4), is_back=True) == "down ready #no worker is ready"
    assert tell(at(4, 0, 4, ago_s=0.5), at(0, 0, 4)) == "up 100%"  # they have died, and are replaced
    assert tell(at(4, 0, 4, ago_s=1), at(0, 0, 4)) == "down #no worker is ready"
    assert is_unready([], NOW_S)


def test_what_takes_no_work_says_so_whatever_its_workers_do() -> None:
    assert tell(at(4, 0, 4), standing=Standing.LEAVES, is_back=True) == "drain"
    assert tell(at(0, 0, 4), standing=Standing.PAUSED, is_back=True) == "maint"
    assert tell(at(4, 0, 4), is_back=True) == "up 100% ready"


# --- who is told that the node is back ---------------------------------------------------------------------


def test_each_balancer_is_told_for_a_while_that_the_node_is_back() -> None:
    balancers = Balancers()
    assert balancers.is_back("one", 0.0, 0.0)
    assert balancers.is_back("one", 0.0, READY_S - 1)
    assert not balancers.is_back("one", 0.0, READY_S)
    assert balancers.is_back("two", 0.0, READY_S)  # new here: it may have been told otherwise before
    assert not balancers.is_back("one", 0.0, READY_S + 1)
    assert balancers.is_back("one", READY_S + 1, READY_S + 2)  # resumed


def test_a_balancer_that_was_away_is_told_again() -> None:
    balancers = Balancers()
    balancers.is_back("one", 0.0, 0.0)
    assert not balancers.is_back("one", 0.0, READY_S)
    assert balancers.is_back("one", 0.0, 2 * READY_S + 1)
    assert balancers.is_back("one", 0.0, 3 * READY_S)
    assert not balancers.is_back("one", 0.0, 3 * READY_S + 1)


def test_no_more_balancers_are_remembered_than_there_is_room_for() -> None:
    balancers = Balancers()
    for number in range(2 * MOST_BALANCERS):
        balancers.is_back(str(number), 0.0, 0.0)
    assert len(balancers._known) == MOST_BALANCERS
    assert str(2 * MOST_BALANCERS - 1) in balancers._known


# --- a fleet -----------------------------------------------------------------------------------------------


@dataclass
class Node:
    """A node as its balancer has it: it asks each second, and sends work by what it was told last."""

    workers: int
    configured: int
    weight: int = 0
    work: float = 0.0
    moments: list[Moment] = field(default_factory=list)
    history: list[float] = field(default_factory=list)

    def look(self, now_s: float, chance: random.Random) -> None:
        busy = sum(chance.random() < min(1.0, self.work / self.workers) for _ in range(self.workers))
        waiting = max(0, round(self.work - self.workers))
        self.moments = [
            *self.moments[-40:],
            Moment(now_s, self.workers - busy, busy, self.workers, waiting=waiting),
        ]

    def ask(self, now_s: float) -> None:
        self.weight = self.configured * percent(self.moments, now_s) // 100
        self.history.append(self.work / self.workers)


def run(nodes: Sequence[Node], load: float, weigh: Callable[[Node], float]) -> list[float]:
    """How busy each node is on average, after a while. `load` is how many workers the work needs."""
    chance = random.Random(0)
    for step in range(4 * 240):
        now_s = step / 4
        for node in nodes:
            node.look(now_s, chance)
        if step % 4 == 0:
            for node in nodes:
                node.ask(now_s)
            total = sum(map(weigh, nodes))
            for node in nodes:
                node.work = load * weigh(node) / total
    return [sum(node.history[60:]) / len(node.history[60:]) for node in nodes]


def by_weight(node: Node) -> float:
    return node.weight


def evenly(_node: Node) -> float:
    return 1.0


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.85])
def test_nodes_of_different_size_with_weights_by_their_size_are_equally_busy(share: float) -> None:
    small, large = run([Node(2, 50), Node(8, 200)], share * 10, by_weight)
    assert small == pytest.approx(share, rel=0.2)
    assert large == pytest.approx(share, rel=0.2)


@pytest.mark.parametrize("share", [0.5, 0.7, 0.85])
def test_with_equal_weights_the_work_goes_where_workers_are_free(share: float) -> None:
    small, large = run([Node(2, 100), Node(8, 100)], share * 10, by_weight)
    assert small < 1.05  # next to nothing waits there
    assert small < 0.8 * run([Node(2, 100), Node(8, 100)], share * 10, evenly)[0]
    assert 0.4 * share < large < 1.0


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.85])
def test_the_work_does_not_go_back_and_forth(share: float) -> None:
    one, two = nodes = [Node(8, 100), Node(8, 100)]
    run(nodes, share * 16, by_weight)
    for node in (one, two):
        steady = node.history[60:]
        mean = sum(steady) / len(steady)
        spread = (sum((busy - mean) ** 2 for busy in steady) / len(steady)) ** 0.5
        assert spread < 0.1 * mean
