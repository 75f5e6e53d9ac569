"""The engine as asyncio's selector.

Owns a small epoll set for what asyncio registers (its self-pipe, the sockets of user libraries), nested in
the engine's own. A `select` is a turn of the engine: it serves every HTTP socket that is ready, in Python
and in Rust, and to asyncio it looks like a wait that took a while. Turns that call nothing in Python, as the
steps of a handshake, follow each other without asyncio. What asyncio registers is collected only
when the engine reports the nested set as ready, so a turn that serves requests costs no second epoll_wait.
"""

from __future__ import annotations

import asyncio
import select
import selectors
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

    from prefork._engine import Engine

A = TypeVar("A")
R = TypeVar("R")


def without_running_loop(loop: asyncio.AbstractEventLoop, function: Callable[[A], R]) -> Callable[[A], R]:
    """Wraps a function for a call inside `loop` in which no loop seems to run.

    Synchronous code may run a loop of its own, or refuse to work inside one, as Django's models do.
    """

    def call(argument: A) -> R:
        asyncio._set_running_loop(None)
        try:
            return function(argument)
        finally:
            asyncio._set_running_loop(loop)

    return call


class Nested(selectors.EpollSelector):
    """asyncio's own selector. Its set can be exchanged."""

    _selector: select.epoll

    def discard(self) -> None:
        """Closes the descriptor, and leaves in the set what is registered."""
        self._selector.close()

    def reopen(self, fileno: int) -> None:
        """Goes on with a new set. `fileno` is what was registered in the former one, to be read."""
        self._selector = select.epoll()
        self._selector.register(fileno, select.EPOLLIN)


class EngineSelector(selectors.BaseSelector):
    """Lets `engine` do the waiting for an `asyncio.SelectorEventLoop`.

    `may_wait` is called before each wait without end, which asyncio starts only when it has no callback and
    no timer left. False means that nothing could end the wait: `select` then returns at once.
    """

    def __init__(self, engine: Engine, may_wait: Callable[[], bool] = lambda: True) -> None:
        self._nested = Nested()
        self._may_wait = may_wait
        self._join(engine)

    def _join(self, engine: Engine) -> None:
        engine.nest(self._nested.fileno())
        self.engine = engine
        self._poll: Callable[[float | None], bool] = engine.select

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Serves one turn that calls Python; `timeout` in seconds, None for as long as it takes."""
        if timeout is None and not self._may_wait():
            return []
        return self._nested.select(0) if self._poll(timeout) else []

    def is_ready(self) -> bool:
        """Whether something that is registered has anything to report."""
        return bool(self._nested.select(0))

    def poll_without_running_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """What the engine calls from now on sees no running loop, although `loop` runs."""
        self._poll = without_running_loop(loop, self.engine.select)

    def register(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._nested.register(fileobj, events, data)

    def modify(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._nested.modify(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._nested.unregister(fileobj)

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._nested.get_map()

    def close(self) -> None:
        self._nested.close()

    def discard(self) -> None:
        """In a forked child: closes the descriptor of the set without touching the set.

        The child's descriptor names the parent's epoll set, so an unregister here would take the descriptor
        from the parent. Closing it does not. The selector must not be used afterwards.
        """
        self._nested.discard()

    def reopen(self, engine: Engine, self_pipe: int) -> None:
        """In a forked child: goes on with an engine and a set of its own.

        The loop has not run yet, and has registered its self-pipe only.
        """
        self._nested.reopen(self_pipe)
        self._join(engine)

    def abandon(self, returned: Callable[[], object]) -> None:
        """After `discard`: the next `select` calls `returned()`, which does not return."""
        self._may_wait = lambda: True
        self._poll = lambda _timeout: bool(returned())
