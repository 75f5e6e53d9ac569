"""Events that are called when a connection closes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from prefork import UnknownEvent, UnknownSession
from prefork.kernel.kernel import Kernel, Session
from prefork.server.close_handlers import CloseHandlers


class Engine:
    """An engine, as far as close handlers know it: these connections are open."""

    def __init__(self, *numbers: int) -> None:
        self.callbacks: dict[int, list[Callable[[], object]]] = {number: [] for number in numbers}

    def when_closed(self, number: int, callback: Callable[[], object]) -> bool:
        if number in self.callbacks:
            self.callbacks[number].append(callback)
        return number in self.callbacks

    def close(self, number: int) -> None:
        for callback in self.callbacks.pop(number):
            callback()


class Place:
    """Close handlers with two sessions, whose events are recorded when `deliver` is called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine = Engine(1, 2)
        monkeypatch.setattr(Kernel, "engine", self.engine)
        self.kernel = Kernel()
        self.recorded: list[tuple[Any, ...]] = []
        for alias in ("A", "B"):
            events = {name: self.recorder(alias, name) for name in ("gone", "left")}
            self.kernel.session(alias, events)
        self.handlers = CloseHandlers(self.kernel)

    def recorder(self, *what: str) -> Callable[..., None]:
        return lambda *args: self.recorded.append((*what, *args))

    def deliver(self) -> list[tuple[Any, ...]]:
        self.kernel.run()
        return self.recorded


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(monkeypatch)


def connection(number: int) -> Any:
    return SimpleNamespace(id=number)


def test_the_handler_of_each_session_is_posted_once(place: Place) -> None:
    assert place.handlers.add(connection(1), "A", "gone", (1, 2))
    assert place.handlers.add(1, "B", "left", ())
    assert len(place.engine.callbacks[1]) == 1
    place.engine.close(1)
    assert place.deliver() == [("A", "gone", 1, 2), ("B", "left")]


def test_a_session_has_one_for_each_connection_and_the_last_one_counts(place: Place) -> None:
    session = place.kernel.find("A")
    assert session is not None
    for target in ("A", session, session.id):
        for number in (1, connection(1), 2):
            assert place.handlers.add(number, target, "gone", ("former",))
    assert place.handlers.add(1, session, "left", ("latter",))
    place.engine.close(1)
    assert place.deliver() == [("A", "left", "latter")]
    place.engine.close(2)
    assert place.deliver() == [("A", "left", "latter"), ("A", "gone", "former")]


def test_a_session_can_remove_its_own(place: Place) -> None:
    for alias in ("A", "B"):
        place.handlers.add(1, alias, "gone", ())
    place.handlers.remove(1, "A")
    place.handlers.remove(1, "A")
    place.handlers.remove(2, "A")
    place.handlers.remove(1, "NOBODY")
    place.engine.close(1)
    assert place.deliver() == [("B", "gone")]


def test_a_connection_that_is_closed_takes_none(place: Place) -> None:
    assert not place.handlers.add(connection(3), "A", "gone", ())
    assert not place.handlers.add(3, "A", "gone", ())


def test_only_what_exists_can_be_called(place: Place) -> None:
    with pytest.raises(UnknownSession):
        place.handlers.add(1, "NOBODY", "gone", ())
    with pytest.raises(UnknownEvent):
        place.handlers.add(1, "A", "gone away", ())


def test_a_session_is_referred_to_until_its_last_connection_is_closed(place: Place) -> None:
    session = Session()
    session.on("gone", print)
    place.kernel.add(session)
    other = place.kernel.find("A")
    assert other is not None
    for number in (1, 2):
        place.handlers.add(number, session, "gone", ())
        place.handlers.add(number, session, "gone", ())
    assert place.handlers.refers_to(session)
    assert not place.handlers.refers_to(other)
    place.engine.close(1)
    assert place.handlers.refers_to(session)
    place.handlers.remove(2, session)
    assert not place.handlers.refers_to(session)
