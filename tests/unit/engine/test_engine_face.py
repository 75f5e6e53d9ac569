"""The engine's turn as Python drives it: waiting, listening, and surviving whatever is called in it."""

from __future__ import annotations

import os
import signal
import socket
import time
from types import SimpleNamespace
from typing import Any

import pytest

from prefork import Headers, Request, Response
from prefork._engine import Engine, die_with_parent
from prefork.config.checked import check, options_of
from prefork.config.options import ServerOptions
from support.engine import RunEngine, Service, keeping, raw_request
from support.leaving import reset

OPTIONS = check(ServerOptions, {})
NATIVE = [option.name for option in options_of(ServerOptions).values() if option.rust]


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """The exceptions that no caller could get."""
    caught: list[BaseException] = []
    monkeypatch.setattr("sys.unraisablehook", lambda what: caught.append(what.exc_value))
    return caught


# --- waiting ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, 0.0, -1, float("nan")])
def test_a_poll_that_may_not_wait_returns_at_once(timeout: float) -> None:
    began = time.monotonic()
    assert Engine().poll(timeout) is False
    assert time.monotonic() - began < 1


def test_a_poll_waits_as_long_as_it_may_and_no_shorter() -> None:
    began = time.monotonic()
    assert Engine().poll(0.05) is False
    assert 0.05 <= time.monotonic() - began < 2


def test_a_client_ends_a_wait_without_end(run_engine: RunEngine) -> None:
    there = run_engine()
    there.connect(raw_request())
    assert there.engine.poll(None) is False
    there.turn_until(lambda: there.service.ended)


def test_the_nested_set_ends_a_wait_and_is_reported_as_long_as_it_is_ready() -> None:
    engine = Engine()
    one, other = socket.socketpair()
    with one, other:
        engine.nest(one.fileno())
        assert engine.poll(0) is False
        other.send(b"x")
        assert engine.poll(None) is True
        assert engine.poll(None) is True
        one.recv(1)
        assert engine.poll(0) is False


@pytest.mark.parametrize(("fd", "error"), [(-1, ValueError), (1 << 20, OSError)])
def test_what_is_no_descriptor_is_refused(run_engine: RunEngine, fd: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        Engine().nest(fd)
    with pytest.raises(error):
        Engine().listen(fd, run_engine().service, OPTIONS)


def test_a_signal_ends_no_wait_but_its_handler_may(run_engine: RunEngine) -> None:
    def interrupt(_signum: int, _frame: object) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            run_engine().turn_until(lambda: False)
    finally:
        signal.signal(signal.SIGALRM, former)


# --- listening ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", NATIVE)
def test_a_listener_needs_every_option(missing: str) -> None:
    options: Any = SimpleNamespace(**{name: getattr(OPTIONS, name) for name in NATIVE if name != missing})
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(AttributeError, match=missing):
        Engine().listen(listener.fileno(), Service(print), options)


def test_a_service_without_its_methods_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(AttributeError, match="request"):
        Engine().listen(listener.fileno(), SimpleNamespace(), OPTIONS)


def test_the_listener_is_a_descriptor_of_the_engines_own(run_engine: RunEngine) -> None:
    there = run_engine()
    port = there.socket.getsockname()[1]
    there.socket.close()
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(raw_request())
        there.turn_until(lambda: there.service.ended)


def test_a_pause_leaves_clients_in_the_queue_until_it_ends(run_engine: RunEngine) -> None:
    there = run_engine()
    there.engine.accepting(there.number, False)
    client = there.connect(raw_request("/", "Connection: close"))
    there.engine.poll(0.02)
    assert there.engine.connections == 0
    there.engine.accepting(there.number, True)
    assert there.read(client).startswith(b"HTTP/1.1 200")


def test_unlisten_takes_no_clients_and_keeps_those_it_has(run_engine: RunEngine) -> None:
    there = run_engine()
    client = there.connect(raw_request())
    there.read(client, enough=b"\r\n\r\n")
    there.engine.unlisten(there.number)
    there.engine.accepting(there.number, True)
    there.connect(raw_request())
    there.engine.poll(0.02)
    client.sendall(raw_request("/", "Connection: close"))
    there.read(client)
    assert len(there.service.ended) == 2


def test_drain_tells_when_the_last_connection_is_gone(run_engine: RunEngine) -> None:
    kept: list[Response] = []
    there = run_engine(keeping(kept))
    client = there.connect(raw_request())
    there.turn_until(lambda: kept)
    assert (there.engine.connections, there.engine.in_flight) == (1, 1)
    drained: list[bool] = []
    there.engine.drain(there.number, 0.0, lambda: drained.append(True))
    there.engine.poll(0.02)
    assert drained == []
    kept[0].done()
    assert b"Connection: close" in there.read(client)
    there.turn_until(lambda: drained)
    assert (there.engine.connections, there.engine.in_flight, drained) == (0, 0, [True])


def test_cut_closes_what_is_open_whatever_it_owes(run_engine: RunEngine) -> None:
    kept: list[Response] = []
    there = run_engine(keeping(kept))
    client = there.connect(raw_request())
    there.turn_until(lambda: kept)
    there.engine.abort(there.number)
    assert there.read(client) == b""
    there.turn_until(lambda: there.service.errors)
    assert there.service.errors == [("the server was shut down", "127.0.0.1")]
    kept[0].done()


def test_a_number_that_is_no_listener_does_nothing(run_engine: RunEngine) -> None:
    engine = run_engine().engine
    engine.unlisten(99)
    engine.accepting(99, True)
    engine.drain(99, 1.0, lambda: None)
    engine.abort(99)
    engine.enter_pool()
    engine.leave_pool()
    assert engine.pool_stops is False


def test_the_last_of_so_many_requests_is_reported_once(run_engine: RunEngine) -> None:
    there = run_engine()
    recorded: list[int] = []
    there.engine.set_max_requests(3, lambda: recorded.append(len(there.service.ended)))
    for _ in range(5):
        there.get()
    assert recorded in ([2], [3])


def test_what_is_no_request_goes_to_malformed_and_gets_a_response(run_engine: RunEngine) -> None:
    there = run_engine()
    raw = there.raw(b"GET  / HTTP/1.1\r\n\r\n" + raw_request("/never"))
    ((status, reason),) = there.service.refused
    assert status == 400
    assert raw.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert raw.endswith(reason.encode() + b"\n")


def test_a_service_may_respond_itself_what_is_no_request(run_engine: RunEngine) -> None:
    class Polite(Service):
        def malformed(self, response: Response, *_: object) -> bool:
            assert response.request is None
            assert response.connection.remote_ip == "127.0.0.1"
            response.code, response.content = 400, "pardon?"
            response.done()
            return True

    raw = run_engine(service=Polite(print)).raw(b"nonsense\r\n\r\n")
    assert raw.endswith(b"\r\n\r\npardon?")


def test_a_body_that_is_not_wanted_is_not_waited_for(run_engine: RunEngine) -> None:
    class Picky(Service):
        def head(self, _request: Request, response: Response) -> bool:
            response.code = 404
            response.done()
            return False

    there = run_engine(service=Picky(print))
    raw = there.raw(raw_request("/", "Content-Length: 1000", "Expect: 100-continue", method="POST"))
    assert raw.startswith(b"HTTP/1.1 404 ")


# --- what is called may fail --------------------------------------------------------------------------------

HOOKS = {
    "request": raw_request("/fail"),
    "head": raw_request("/fail", "Content-Length: 1", method="POST") + b"x",
    "body": raw_request("/fail", "Content-Length: 1", method="POST") + b"x",
    "malformed": b"nonsense\r\n\r\n",
}


def failing(hook: str, error: BaseException) -> Service:
    def fail(request: object, *_: object) -> Any:
        if not isinstance(request, Request) or request.path == "/fail":
            raise error

    service = Service(lambda _, response: response.done())
    good = getattr(service, hook)
    setattr(service, hook, lambda *args: fail(*args) or good(*args))
    return service


@pytest.mark.parametrize("hook", HOOKS)
def test_an_exception_costs_the_request_and_never_the_process(
    run_engine: RunEngine, unraisable: list[BaseException], hook: str
) -> None:
    error = RuntimeError("application")
    there = run_engine(service=failing(hook, error))
    response = there.raw(HOOKS[hook])
    assert response.startswith(b"HTTP/1.1 400 " if hook == "malformed" else b"HTTP/1.1 500 ")
    assert unraisable == [error]
    assert there.get().status == 200


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("hook", HOOKS)
def test_what_is_meant_to_end_the_process_comes_out_of_poll(
    run_engine: RunEngine, hook: str, kind: type[BaseException]
) -> None:
    there = run_engine(service=failing(hook, kind()))
    there.connect(HOOKS[hook])
    with pytest.raises(kind):
        there.turn_until(lambda: False)
    assert there.get().status == 200


def test_any_other_exception_stays_inside(run_engine: RunEngine, unraisable: list[BaseException]) -> None:
    there = run_engine(service=failing("request", GeneratorExit()))
    assert there.raw(HOOKS["request"]).startswith(b"HTTP/1.1 500 ")
    assert there.get().status == 200
    assert [type(error) for error in unraisable] == [GeneratorExit]


def test_a_panic_costs_the_request_and_never_the_process(
    run_engine: RunEngine, unraisable: list[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TypeError):
        Headers(7)  # type: ignore[arg-type]  # PyO3 makes its class of panics when it first looks at an exception
    for panic in {kind for kind in BaseException.__subclasses__() if kind.__name__ == "PanicException"}:
        # Each native module made with PyO3 has a class of that name; raised again it is a panic in its own.
        there = run_engine(service=failing("request", panic("on purpose")))
        assert there.raw(HOOKS["request"]).startswith(b"HTTP/1.1 500 ")
        assert there.service.unanswered_handlers == [None]
        assert there.get().status == 200
    assert "resuming a panic" in capfd.readouterr().err
    assert all(str(error) == "on purpose" for error in unraisable)


@pytest.mark.parametrize("hook", ["unanswered", "client_error", "drained"])
def test_a_hook_that_is_called_for_an_error_may_fail_as_well(
    run_engine: RunEngine, unraisable: list[BaseException], hook: str
) -> None:
    def handler(request: Request, response: Response) -> None:
        if request.path == "/wait":
            kept.append(response)
        elif request.path != "/drop":
            response.done()

    def fail(*_: object) -> None:
        raise RuntimeError("twice")

    kept: list[Response] = []
    service = Service(handler)
    if hook != "drained":
        setattr(service, hook, fail)
    there = run_engine(service=service)
    assert there.raw(raw_request("/drop")).startswith(b"HTTP/1.1 500 ")
    client = there.connect(raw_request("/wait"))
    there.turn_until(lambda: kept)
    reset(client)
    there.turn_until(lambda: there.engine.connections == 0)
    assert there.get().status == 200
    there.engine.drain(there.number, 0.0, fail if hook == "drained" else lambda: None)
    there.turn_until(lambda: unraisable)
    assert [str(error) for error in unraisable] == ["twice"]


def test_a_callback_may_use_the_engine_that_calls_it(run_engine: RunEngine) -> None:
    def handler(_request: Request, response: Response) -> None:
        response.connection.when_closed(lambda: response.connection.when_closed(print))
        there.engine.accepting(there.number, False)
        there.engine.accepting(there.number, True)
        there.engine.set_max_requests(2, lambda: there.engine.set_max_requests(3, print))
        response.done()

    there = run_engine(handler)
    assert there.get().status == 200
    assert there.get().status == 200


# --- processes ----------------------------------------------------------------------------------------------


def test_close_in_a_forked_child_does_not_disturb_the_parent(run_engine: RunEngine) -> None:
    there = run_engine()
    nested, other = socket.socketpair()
    there.engine.nest(nested.fileno())
    client = there.connect(raw_request())
    there.read(client, enough=b"\r\n\r\n")
    pid = os.fork()
    if pid == 0:
        there.engine.close()
        os._exit(0 if there.engine.connections == 0 and there.engine.poll(0) is False else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    client.sendall(raw_request())
    there.read(client, enough=b"\r\n\r\n")
    assert there.get().status == 200
    with nested, other:
        other.send(b"x")
        assert there.engine.poll(None) is True


def test_close_closes_the_connections_and_lets_the_service_go(run_engine: RunEngine) -> None:
    there = run_engine()
    client = there.connect(raw_request())
    there.read(client, enough=b"\r\n\r\n")
    there.engine.close()
    assert client.recv(1) == b""
    assert there.engine.connections == 0
    assert there.engine.poll(0) is False


def test_die_with_parent_tells_whether_the_parent_is_still_there() -> None:
    pid = os.fork()
    if pid == 0:
        alive = die_with_parent(os.getppid())
        adopted = not die_with_parent(os.getpid())
        os._exit(0 if alive and adopted else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_child_that_asked_for_it_dies_with_its_parent() -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        if os.fork() == 0:
            die_with_parent(os.getppid())
            os.write(writer, b"x")
            signal.pause()
        os.read(reader, 1)
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    # The end of the pipe: the last process that could write to it is gone.
    with open(reader, "rb") as pipe:
        assert pipe.read() == b""
