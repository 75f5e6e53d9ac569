"""Which exceptions come of a client's leaving, and which are errors of the application."""

from __future__ import annotations

import asyncio

import pytest

from prefork.errors import ConnectionGone
from prefork.hosting.disconnects import comes_of_disconnect


class ClientDisconnect(Exception):
    """As Starlette's."""


class Left(ClientDisconnect):
    """A subclass of it."""


def caused(error: BaseException, cause: BaseException | None) -> BaseException:
    """`raise error from cause`"""
    error.__cause__ = cause
    return error


def during(error: BaseException, context: BaseException) -> BaseException:
    """`error` is raised while `context` is handled."""
    error.__context__ = context
    return error


def gone() -> ConnectionGone:
    return ConnectionGone("left")


def group(*errors: BaseException) -> BaseException:
    return BaseExceptionGroup("of a task group", errors)


@pytest.mark.parametrize(
    "error",
    [
        gone(),
        asyncio.CancelledError(),
        ClientDisconnect(),
        Left(),
        during(ClientDisconnect(), gone()),
        caused(ValueError(), gone()),
        caused(ValueError(), caused(KeyError(), ClientDisconnect())),
        group(gone()),
        group(gone(), group(during(asyncio.CancelledError(), gone()), ClientDisconnect())),
        during(group(gone()), asyncio.CancelledError()),
        during(gone(), TimeoutError()),  # a comment in an event stream, after a silence
        during(gone(), asyncio.QueueEmpty()),
        caused(during(gone(), KeyError()), None).with_traceback(None),
    ],
)
def test_it_comes_of_the_disconnect(error: BaseException) -> None:
    if isinstance(error.__context__, KeyError):
        error.__suppress_context__ = True  # `raise ... from None`
    assert comes_of_disconnect(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        TimeoutError(),
        ConnectionResetError("of a database"),
        SystemExit(),
        during(KeyError(), gone()),
        during(KeyError(), ClientDisconnect()),
        during(gone(), KeyError()),
        during(ClientDisconnect(), during(gone(), KeyError())),
        caused(ClientDisconnect(), KeyError()),
        group(gone(), KeyError()),
        group(gone(), group(during(KeyError(), gone()))),
        during(group(gone()), KeyError()),
        caused(gone(), group(KeyError())),
    ],
)
def test_it_is_an_error_of_its_own(error: BaseException) -> None:
    assert not comes_of_disconnect(error)


def test_a_chain_may_be_a_ring() -> None:
    one, two = gone(), asyncio.CancelledError()
    one.__context__, two.__context__ = two, one
    assert comes_of_disconnect(one)
