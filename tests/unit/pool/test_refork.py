"""An attempt to make a mold of a worker, as the manager sees it: what the worker says is checked."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from prefork.config.checked import check
from prefork.config.options import PreForkOptions
from prefork.pool.mold import Word, encode
from prefork.pool.refork import Refork


class FakeProcess:
    pid = 101

    def __init__(self, channel: socket.socket | None) -> None:
        self.channel = channel
        self.signals: list[int] = []

    def signal(self, signum: int) -> None:
        self.signals.append(signum)


class World:
    """A refork of the worker in slot 3, and all that it deals with."""

    generation = 1
    pids = (101, 102)

    def __init__(self, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.own, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = FakeProcess(theirs)
        self.happened: list[str] = []
        self.has_ended = False
        self.retire: Callable[[Any], object] | None = None
        me = cast(Any, self)
        self.refork = Refork(self.loop, me, me, check(PreForkOptions, options), lambda _: None, 3)

    # --- the supervisor

    def end_by(self, index: int, end: Callable[[Any], object]) -> FakeProcess:
        assert index == 3
        self.retire = end
        return self.process

    def let_go(self, _index: int, _process: object) -> bool:
        self.happened.append("let go")
        return not self.has_ended

    def try_next(self, _spawn: object, done: Callable[[str], object]) -> None:
        self.happened.append("try")
        self.done = done

    def adopt_next(self, *arguments: Any) -> None:
        self.happened.append("adopt")
        if len(arguments) == 3:  # of the spawner: a process, its channel, and what is called at its end
            self.channel = arguments[1]

    def drop_next(self, *_: object) -> list[int]:
        self.happened.append("drop")
        return []

    def check_next(self, lives: Callable[[], object]) -> None:
        self.happened.append("check")
        lives()

    def commit(self) -> None:
        self.happened.append("commit")

    spawn_next = None

    # --- what happens

    def tell(self) -> None:
        """It is replaced, and is to end."""
        assert self.retire is not None
        self.retire(self.process)

    def hear(self, message: bytes) -> None:
        self.own.send(message)
        self.turn()

    def turn(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0.01))

    @property
    def failure(self) -> str:
        return "" if self.refork.end is None else self.refork.end.failure


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.refork.begin()
    yield world
    world.own.close()
    world.loop.close()


def test_a_worker_that_ends_is_the_next_mold_when_a_worker_of_it_is_ready(world: World) -> None:
    world.tell()
    assert world.own.recv(100) == encode(Word.BECOME)
    world.hear(encode(Word.LOADED))
    assert world.happened == ["let go", "adopt", "try"]
    world.done("")
    assert world.happened[3:] == ["check", "commit", "adopt"]
    assert world.process.signals == []
    world.channel.close()


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (encode(Word.FAILED, "it has\na thread", "", 0), "worker 101 cannot become a mold: it has\na thread"),
        (encode(Word.WORKER, 3), "says what is not expected"),
        (b"\xff\x00 garbage", "says what is not expected"),
        (b'["loaded"', "says what is not expected"),
    ],
)
def test_what_else_it_says_is_a_failure(world: World, message: bytes, why: str) -> None:
    world.tell()
    world.hear(message)
    assert why in world.failure
    assert world.happened == ["drop", "drop"]
    assert world.own.recv(100) == encode(Word.BECOME)
    assert world.own.recv(100) == b"", "it ends as any worker"


def test_one_that_serves_is_no_mold_whatever_it_says(world: World) -> None:
    world.hear(encode(Word.LOADED))
    assert "says what is not expected" in world.failure
    world.tell()
    assert world.process.signals == [signal.SIGTERM]


def test_one_that_has_ended_is_none(world: World) -> None:
    world.own.close()
    world.turn()
    assert world.failure == "worker 101 has ended, and is no mold"


def test_one_that_ends_as_it_says_that_it_is_a_mold_is_none(world: World) -> None:
    world.tell()
    world.has_ended = True
    world.hear(encode(Word.LOADED))
    assert world.failure == "worker 101 has ended, and is no mold"


def test_one_that_does_not_read_is_ended_by_a_signal(world: World) -> None:
    channel = world.process.channel
    assert channel is None, "it belongs to the attempt"
    own = world.refork._channel
    assert own is not None
    with contextlib.suppress(BlockingIOError):
        while True:
            own.send(b"x" * 1000, socket.MSG_DONTWAIT)
    world.tell()
    assert world.process.signals == [signal.SIGTERM]
    world.refork.cancel("the test ends")


def test_if_no_other_worker_is_ready_it_serves_on() -> None:
    world = World(boot_timeout=0.01)
    world.refork.begin()
    world.turn()
    world.turn()
    assert world.failure == "no other worker was ready within boot_timeout"
    world.own.close()
    world.loop.close()


def test_without_a_channel_nothing_is_tried() -> None:
    world = World()
    assert world.process.channel is not None
    world.process.channel.close()
    world.process.channel = None
    world.refork.begin()
    world.turn()
    assert "has no channel" in world.failure
    world.own.close()
    world.loop.close()
