"""An ASGI application whose error responses wait for its exception."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prefork.hosting.dev.held import MOST_HELD, Held

HTTP = {"type": "http"}


def called(application: Any, scope: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """What the server is sent."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "lifespan.shutdown"}

    asyncio.run(application(scope or HTTP, receive, send))
    return sent


def responding(status: int, parts: int = 1, error: Exception | None = None) -> Any:
    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status})
        for part in range(parts):
            await send({"type": "http.response.body", "more_body": part + 1 < parts})
        if error is not None:
            raise error

    return application


@pytest.mark.parametrize("status", [200, 404, 500, 503])
@pytest.mark.parametrize("parts", [1, MOST_HELD + 5])
def test_a_response_without_an_exception_is_sent_whole(status: int, parts: int) -> None:
    assert called(Held(responding(status, parts))) == called(responding(status, parts))


def test_one_of_500_is_dropped_if_an_exception_follows() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(LookupError):
        asyncio.run(Held(responding(500, error=LookupError()))(HTTP, None, send))  # type: ignore[arg-type]
    assert sent == []


def test_a_startup_that_fails_is_complete_and_requests_raise_why() -> None:
    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.failed", "message": "text"})
        raise RuntimeError("no database")

    held = Held(application)
    sent = called(held, {"type": "lifespan"})
    assert [one["type"] for one in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no database"):
            called(held)


def test_an_application_without_lifespan_raises_as_before() -> None:
    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        assert scope["type"] == "http"

    with pytest.raises(AssertionError):
        called(Held(application), {"type": "lifespan"})


def test_it_has_the_name_of_the_application() -> None:
    assert Held(responding(200)).__name__ == "application"
