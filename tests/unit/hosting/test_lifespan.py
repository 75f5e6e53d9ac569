"""The lifespan of an application in one process, without a server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from prefork.errors import LifespanFailed
from prefork.hosting.asgi_types import Receive, Scope, Send
from prefork.hosting.lifespan import Lifespan

App = Callable[[Scope, Receive, Send], Awaitable[None]]


def responding(*messages: dict[str, Any]) -> App:
    """An application that sends these, one for each message that it receives."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await receive()
            await send(message)

    return app


STARTED, STOPPED = {"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}


def run(app: App, mode: str = "auto") -> Lifespan:
    """A lifespan that has started up and shut down."""
    lifespan = Lifespan(app, mode, "application app")

    async def live() -> None:
        await lifespan.startup()
        await asyncio.wait_for(lifespan.shutdown(), 5)

    asyncio.run(live())
    return lifespan


def test_an_application_starts_up_and_shuts_down_with_one_state() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["database"] = "open"
        for message in (STARTED, STOPPED):
            seen.append((await receive())["type"])
            await send(message)

    lifespan = run(app)
    assert seen == ["lifespan.startup", "lifespan.shutdown"]
    assert lifespan.state == {"database": "open"}


def test_a_second_startup_does_nothing_while_it_lives() -> None:
    calls: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        calls.append(scope)
        await responding(STARTED, STOPPED)(scope, receive, send)

    async def live() -> None:
        lifespan = Lifespan(app, "on", "app")
        await lifespan.startup()
        await lifespan.startup()
        await lifespan.shutdown()
        await lifespan.shutdown()

    asyncio.run(live())
    assert len(calls) == 1


def test_off_calls_nothing() -> None:
    async def app(*_: object) -> None:
        pytest.fail("it has no lifespan")

    run(app, "off")


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_an_application_that_says_that_it_failed_does_not_serve(mode: str) -> None:
    told = "Traceback\n  ...\nDown: no database\n(a note)\n"
    message = {"type": "lifespan.startup.failed", "message": told}
    text = r"application app failed to start:\nTraceback\n  ...\nDown: no database\n\(a note\)$"
    with pytest.raises(LifespanFailed, match=text):
        run(responding(message), mode)


def test_a_reason_of_one_line_stays_in_its_line() -> None:
    message = {"type": "lifespan.startup.failed", "message": "no database\n"}
    with pytest.raises(LifespanFailed, match=r"^application app failed to start: no database$"):
        run(responding(message))


@pytest.mark.parametrize("mode", ["auto", "on"])
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_an_application_that_exits_does_not_serve(mode: str, error: BaseException) -> None:
    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        raise error

    with pytest.raises(LifespanFailed, match=r"application app raised (SystemExit|Keyboard).* in its"):
        run(app, mode)


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit])
def test_with_on_an_application_that_is_cancelled_does_not_serve(error: type[BaseException]) -> None:
    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        raise error

    with pytest.raises(LifespanFailed, match=rf"application app raised {error.__name__}\(.*\) in its"):
        run(app, "on")


def test_a_failure_without_a_message_says_so() -> None:
    with pytest.raises(LifespanFailed, match="application app failed to start: it gave no message"):
        run(responding({"type": "lifespan.startup.failed"}))


async def without_lifespan(scope: Scope, _receive: Receive, _send: Send) -> None:
    raise KeyError(scope["type"])


async def fails_to_start(_scope: Scope, receive: Receive, _send: Send) -> None:
    await receive()
    raise RuntimeError("no database")


async def returns(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Neither a lifespan nor an error."""


@pytest.mark.parametrize(
    ("app", "level", "text"),
    [
        (without_lifespan, logging.DEBUG, "application app has no lifespan: KeyError('lifespan')"),
        (returns, logging.DEBUG, "application app has no lifespan: it returned"),
        (
            fails_to_start,
            logging.WARNING,
            "application app failed to start, and is served all the same (--lifespan auto): "
            "RuntimeError('no database')",
        ),
    ],
)
def test_with_auto_an_application_without_a_lifespan_is_served(
    caplog: pytest.LogCaptureFixture, app: App, level: int, text: str
) -> None:
    caplog.set_level(logging.DEBUG, "prefork")
    run(app)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(level, text)]


@pytest.mark.parametrize(
    ("app", "error", "text"),
    [
        (without_lifespan, KeyError, "lifespan"),
        (fails_to_start, RuntimeError, "no database"),
        (returns, LifespanFailed, "application app returned before lifespan.startup.complete"),
    ],
)
def test_with_on_it_is_not(app: App, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        run(app, "on")


def test_a_shutdown_that_failed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    failed = {"type": "lifespan.shutdown.failed", "message": "Stuck: a transaction is open"}
    run(responding(STARTED, failed))
    assert caplog.messages == ["application app failed to shut down: Stuck: a transaction is open"]


def test_a_lifespan_that_ends_while_the_server_runs_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        raise OSError("connection lost")

    run(app)
    assert caplog.messages == ["application app: its lifespan failed: OSError('connection lost')"]
    assert 'raise OSError("connection lost")' in caplog.text


def test_an_application_that_ignores_the_shutdown_is_cancelled() -> None:
    ended: list[bool] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        await receive()
        await send(STOPPED)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(True)

    async def live() -> None:
        lifespan = Lifespan(app, "on", "app")
        await lifespan.startup()
        await lifespan.shutdown()
        await asyncio.sleep(0)

    asyncio.run(live())
    assert ended == [True]


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "lifespan.shutdown.complete"}],  # it was not requested
        [{"type": "http.response.start"}],
        [STARTED, STARTED],
    ],
)
def test_a_message_that_has_no_place_is_an_error_of_the_application(messages: list[dict[str, Any]]) -> None:
    raised: list[str] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            for message in messages:
                await send(message)
        except RuntimeError as error:
            raised.append(str(error))

    run(app)
    assert raised == [f"the application sent {messages[-1]['type']} in its lifespan, where it has no place"]


def test_a_shutdown_during_startup_ends_that() -> None:
    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        await asyncio.sleep(60)

    async def live() -> None:
        lifespan = Lifespan(app, "on", "app")
        starting = asyncio.create_task(lifespan.startup())
        await asyncio.sleep(0.01)
        await lifespan.shutdown()
        with pytest.raises(asyncio.CancelledError):
            await starting

    asyncio.run(live())


def test_each_part_of_a_group_that_a_shutdown_raised_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def close(what: str) -> None:
        raise RuntimeError(f"{what} is busy")

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        await receive()
        async with asyncio.TaskGroup() as group:
            group.create_task(close("the pool"))
            group.create_task(close("the queue"))

    run(app)
    assert len(caplog.records) == 1
    assert all(text in caplog.text for text in ("the pool is busy", "the queue is busy", "in close"))
