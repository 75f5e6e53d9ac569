"""What hooks and observers are called with, and what is logged beside it."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from prefork.config.checked import check
from prefork.config.options import ServerOptions
from prefork.errors import UnknownEvent, UnknownSession
from prefork.kernel.kernel import Kernel, Session
from prefork.server.hooks import Hooks
from prefork.server.sockets import Listening


@pytest.fixture
def reported() -> list[tuple[Any, ...]]:
    return []


@pytest.fixture
def kernel(reported: list[tuple[Any, ...]]) -> Kernel:
    kernel = Kernel()
    kernel.session("LOG", {"record": lambda *what: reported.append(what)})
    return kernel


def hooks(kernel: Kernel, **options: Any) -> Hooks:
    return Hooks(kernel, kernel.add(Session()), check(ServerOptions, options), [], [])


@pytest.mark.parametrize(
    ("method", "args", "level", "line", "recorded"),
    [
        ("application_error", ("it broke", "10.0.0.1"), logging.ERROR, "it broke", ("it broke", "10.0.0.1")),
        (
            "client_error",
            ("it left", "10.0.0.1"),
            logging.INFO,
            "client 10.0.0.1: it left",
            ("it left", "10.0.0.1"),
        ),
        ("server_warning", ("no files",), logging.WARNING, "no files", ("no files", None)),
    ],
)
def test_each_kind_of_error_has_its_level_and_is_told_to_the_error_hook(
    kernel: Kernel,
    reported: list[tuple[Any, ...]],
    caplog: pytest.LogCaptureFixture,
    method: str,
    args: tuple[str, ...],
    level: int,
    line: str,
    recorded: tuple[Any, ...],
) -> None:
    caplog.set_level(logging.INFO, "prefork")
    getattr(hooks(kernel, error_handler=("LOG", "record")), method)(*args)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(level, line)]
    assert reported == [recorded]


def test_a_hook_may_be_a_function(kernel: Kernel, reported: list[tuple[Any, ...]]) -> None:
    hooks(kernel, error_handler=lambda *what: reported.append(what)).error("text", None)
    assert reported == [("text", None)]


def test_a_hook_that_fails_is_logged(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("on purpose")

    hooks(kernel, error_handler=fail).error("text", None)
    (record,) = caplog.records
    assert "fail" in record.getMessage()
    assert record.exc_info is not None


def test_a_hook_whose_session_has_gone_is_logged(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    hooks(kernel, error_handler=("GONE", "record")).error("text", None)
    (record,) = caplog.records
    assert record.getMessage().startswith("hook GONE.record: no session has the alias 'GONE'")


@pytest.mark.parametrize(
    ("hook", "error", "text"),
    [
        (("GONE", "record"), UnknownSession, "log2_handler: no session has the alias 'GONE'"),
        (("LOG", "gone"), UnknownEvent, "log2_handler: session LOG has no event 'gone'"),
    ],
)
def test_a_hook_that_does_not_exist_is_refused_before_the_server_runs(
    kernel: Kernel, hook: tuple[str, str], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        hooks(kernel, log2_handler=hook).check()
    hooks(kernel, log2_handler=("LOG", "record"), log_handler=print).check()


@pytest.mark.parametrize(
    ("options", "wanted"),
    [({}, False), ({"debug": True}, True), ({"log2_handler": ("LOG", "record")}, True)],
)
def test_the_end_of_requests_is_watched_only_if_something_wants_to_know(
    kernel: Kernel, options: dict[str, Any], wanted: bool
) -> None:
    assert (hooks(kernel, **options).request_ended is not None) == wanted


def test_observers_are_called_beside_the_hooks(kernel: Kernel, reported: list[tuple[Any, ...]]) -> None:
    options = check(ServerOptions, {"log2_handler": ("LOG", "record"), "setup_handler": ("LOG", "record")})
    served: list[Session] = []
    ended: list[tuple[Any, ...]] = []
    session = kernel.add(Session())
    hooks = Hooks(kernel, session, options, [served.append], [lambda *what: ended.append(what)])
    first: Any = SimpleNamespace(port=80, address="::")
    second: Any = SimpleNamespace(port=None, address="/run/x")
    hooks.serving(Listening([first, second]))
    assert (reported, served) == ([(80, "::"), (None, "/run/x")], [session])
    response: Any = type("Response", (), {"code": 200, "handler": None})
    assert hooks.request_ended is not None
    hooks.request_ended(None, response)
    assert ended == [(None, response)] == reported[2:]
