"""Events that are called when a connection closes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prefork.kernel.kernel import Kernel
from prefork.server.close_handlers import CloseHandlers


class Connection:
    """A connection, as far as close handlers know it."""

    def __init__(self, number: int, *, dead: bool = False) -> None:
        self.id = number
        self.dead = dead
        self.callbacks: list[Callable[[], object]] = []

    def when_closed(self, callback: Callable[[], object]) -> bool:
        if not self.dead:
            self.callbacks.append(callback)
        return not self.dead

    def close(self) -> None:
        for callback in self.callbacks:
            callback()


@pytest.fixture
def posted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    posted: list[tuple[Any, ...]] = []
    monkeypatch.setattr(Kernel, "post", lambda _kernel, *what: posted.append(what))
    return posted


@pytest.fixture
def handlers() -> CloseHandlers:
    return CloseHandlers(Kernel())


def test_every_handler_of_a_connection_is_posted_once(
    handlers: CloseHandlers, posted: list[tuple[Any, ...]]
) -> None:
    connection: Any = Connection(1)
    assert handlers.add(connection, "A", "gone", (1, 2))
    assert handlers.add(1, "B", "gone", ())
    connection.close()
    connection.close()
    assert posted == [("A", "gone", 1, 2), ("B", "gone")]
    assert len(connection.callbacks) == 1


def test_a_session_can_remove_its_own(handlers: CloseHandlers, posted: list[tuple[Any, ...]]) -> None:
    connection: Any = Connection(1)
    handlers.add(connection, "A", "gone", ())
    handlers.add(connection, "B", "gone", ())
    handlers.remove(1, "A")
    handlers.remove(2, "A")
    connection.close()
    assert posted == [("B", "gone")]


def test_a_connection_that_is_closed_takes_none(handlers: CloseHandlers) -> None:
    dead: Any = Connection(1, dead=True)
    assert not handlers.add(dead, "A", "gone", ())
    assert not handlers.add(1, "A", "gone", ())
