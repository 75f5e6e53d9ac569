"""`/` and `/events`: the live page of a pool, and the stream of frames that it draws.

Both show the same snapshot, which is taken once a second at most, however many clients there are.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from prefork.admin.events import Events
from prefork.admin.page import Template, policy
from prefork.admin.pool_memory import PoolMemory
from prefork.admin.snapshot import Sampler, Snapshot

if TYPE_CHECKING:
    from prefork._engine import Request, Response
    from prefork.admin.view import View
    from prefork.config.option import Option
    from prefork.config.options import PreForkOptions

TEMPLATE = Template()
"""Read now: later the process may have another root directory."""
PARTS = 8
"""Buckets for each power of two: quantiles are exact within some percent."""


def page(view: View, _request: Request, response: Response) -> str | bytes:
    """The pool as it is now, as HTML. Its script goes on from there."""
    snapshot = _live(view).events.snapshot
    if snapshot is None:
        return _no_pool(response)
    nonce = os.urandom(16).hex()
    response.content_type = "text/html; charset=utf-8"
    response.header("Content-Security-Policy", policy(nonce))
    response.header("Referrer-Policy", "no-referrer")
    response.header("Cross-Origin-Opener-Policy", "same-origin")
    return TEMPLATE.render(snapshot, nonce)


def events(view: View, request: Request, response: Response) -> str | AsyncGenerator[bytes, None]:
    """Frames, as server-sent events (HTML Standard, 9.2)."""
    live = _live(view)
    if live.events.is_full:
        response.code = 503
        response.header("Retry-After", "10")
        return "too many pages are open\n"
    if live.events.snapshot is None:
        return _no_pool(response)
    compressed = accepts_gzip(request.header("accept-encoding", ""))
    response.content_type = "text/event-stream"
    response.header("X-Accel-Buffering", "no")  # for nginx in front
    if compressed:
        response.header("Content-Encoding", "gzip")
    return live.events.stream(compressed=compressed)


def _no_pool(response: Response) -> str:
    response.code = 503
    return "there is no pool\n"


def accepts_gzip(field: str) -> bool:
    """Whether an Accept-Encoding field names it (RFC 9110, section 12.5.3)."""
    for part in field.split(","):
        name, *weight = part.replace(" ", "").lower().split(";")
        if name == "gzip":
            return not weight or weight[0].removeprefix("q=").strip("0.") != ""
    return False


class _Live:
    """What is kept from one snapshot to the next."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._sampler = Sampler()
        self._memory = PoolMemory()
        self._options: PreForkOptions | None = None
        self._settings: list[tuple[str, str]] = []
        """Those of the options."""
        self.events = Events(view.server.kernel.loop, self._look)
        view.at_end.append(self.events.close)

    def _look(self) -> Snapshot | None:
        report, manager = self._view.report(processes=False, figures=False), self._view.manager
        if report is None or manager is None:
            return None
        if (options := self._view.server.options) is not self._options:
            self._options, self._settings = options, settings(options)
        return self._sampler.take(
            report,
            manager.resources.board.histograms(parts=PARTS),
            memory=self._memory.total(manager.workers),
            config=self._settings,
        )


def _live(view: View) -> _Live:
    found = view.kept.get(_Live)
    if found is None:
        found = view.kept[_Live] = _Live(view)
    assert isinstance(found, _Live)
    return found


def settings(options: PreForkOptions) -> list[tuple[str, str]]:
    """The options that differ from their defaults, as a user gives them. Those of code alone are left out."""
    found = []
    for field in dataclasses.fields(options):
        option: Option = field.metadata["option"]
        value = getattr(options, field.name)
        if option.key is not None and value != option.default:
            found.append((option.key or field.name, _as_given(option, value)))
    return found


def _as_given(option: Option, value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return dataclasses.replace(option, default=value).default_text
