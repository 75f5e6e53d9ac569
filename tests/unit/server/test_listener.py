"""The sockets of a server over stop and start."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from prefork.config.checked import check
from prefork.config.options import ServerOptions
from prefork.errors import BindError
from prefork.kernel.kernel import Kernel
from prefork.server import listener as listeners
from prefork.server.listener import Listener


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def listener(warnings: list[str]) -> Iterator[Listener]:
    options = check(ServerOptions, {"address": "127.0.0.1", "port": 0, "max_retries": 2})
    listener = Listener(Kernel(), options, warnings.append)
    yield listener
    listener.close()


def taken(port: int | None) -> socket.socket:
    assert port is not None
    return socket.create_server(("127.0.0.1", port))


def opened() -> None:
    pytest.fail("it is open already, or cannot be opened")


def test_it_opens_again_on_the_port_that_the_system_chose(listener: Listener) -> None:
    port = listener.port
    assert listener.close()
    assert not listener.close()
    calls: list[int | None] = []
    assert listener.reopen(lambda: calls.append(listener.sockets.port if listener.sockets else None))
    assert calls == [port] == [listener.port]


def test_one_that_is_open_is_not_opened_again(listener: Listener) -> None:
    assert not listener.reopen(opened)


def test_an_address_that_is_taken_is_refused_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        options = check(ServerOptions, {"address": "127.0.0.1", "port": other.getsockname()[1]})
        with pytest.raises(BindError, match=r"cannot listen on 127\.0\.0\.1"):
            Listener(Kernel(), options, print)


def test_a_port_that_was_taken_meanwhile_is_tried_again(
    listener: Listener, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "RETRY_S", 0.01)
    kernel = listener._kernel
    calls: list[str] = []

    def reopen() -> None:
        assert not listener.reopen(lambda: (calls.append("opened"), kernel.stop()))
        kernel.loop.call_later(0.015, other.close)

    listener.close()
    other = taken(listener.port)
    kernel.on_start(reopen)
    kernel.hold(other)
    kernel.run()
    assert calls == ["opened"]
    assert 1 <= len(warnings) <= 3
    assert "stop what uses it or choose another" in warnings[0]


def test_it_gives_up_after_max_retries(
    listener: Listener, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "RETRY_S", 0.0)
    kernel = listener._kernel
    listener.close()
    with taken(listener.port):
        kernel.on_start(lambda: listener.reopen(opened))
        kernel.run()  # until nothing is left to do
    assert len(warnings) == 3


def test_closing_cancels_the_next_attempt(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "RETRY_S", 0.01)
    kernel = listener._kernel
    listener.close()
    with taken(listener.port) as other:
        kernel.on_start(lambda: (listener.reopen(opened), listener.close(), other.close()))
        kernel.run()
    assert listener.sockets is None
