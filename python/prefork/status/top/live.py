"""The loop of `prefork top`: reports come in, frames go out, and keys change the view."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from prefork.errors import PreforkError
from prefork.status import table
from prefork.status.top.quantiles import Histograms, Window
from prefork.status.top.rates import Rates, between
from prefork.status.top.screen import frame
from prefork.status.top.terminal import Terminal
from prefork.status.top.view import Action, View

Report = Mapping[str, Any]
Stacks = Callable[[int], Sequence[str]]
"""What the worker of this pid does, and its stacks, as lines. Raises PreforkError."""


class Source(Protocol):
    """Where reports come from. `note` says what is wrong with the manager, or is ""."""

    note: str

    def look(self) -> Report:
        """The report of this moment. Raises PreforkError."""

    def histograms(self) -> Histograms | None:
        """How long all requests took until the last report; None if it does not tell."""


def once(source: Source) -> str:
    """The report as plain text, and why it is not drawn."""
    report = table.plain(source.look())
    last = "prefork top: there is no terminal to draw on, so this is one report; see prefork status --watch"
    return "\n".join([report, *([source.note] if source.note else []), "", last])


class Live:
    """Draws a pool until it is told to quit. Raises PreforkError if the first report cannot be had."""

    def __init__(self, source: Source, stacks: Stacks, interval_s: float) -> None:
        self._source = source
        self._stacks = stacks
        self._interval_s = interval_s
        self._view = View()
        self._report = source.look()
        self._looked_s = time.monotonic()
        self._rates = Rates()
        self._window = Window()
        self._trouble = ""
        self._clock = ""

    def run(self, terminal: Terminal) -> None:
        """Returns when the operator quits."""
        self._clock = time.strftime("%H:%M:%S")
        while True:
            left_s = self._looked_s + self._interval_s - time.monotonic()
            if left_s <= 0 and not self._view.paused:
                self._look()
                left_s = self._interval_s
            self._draw(terminal)
            for key in terminal.keys(self._interval_s if self._view.paused else left_s):
                action = self._view.press(key)
                if action is Action.QUIT:
                    return
                if action is Action.STACK:
                    self._show_stacks(terminal)

    def _look(self) -> None:
        """Takes another report. If there is none, the last one stays, and it is said why."""
        now = time.monotonic()
        try:
            report = self._source.look()
        except PreforkError as error:
            self._trouble, self._rates = f"no report: {error}", Rates()
        else:
            self._trouble = self._source.note
            self._rates = between(self._report, report, now - self._looked_s)
            self._report = report
            if (histograms := self._source.histograms()) is not None:
                self._window.add(histograms, now)
            self._clock = time.strftime("%H:%M:%S")
        self._looked_s = now

    def _draw(self, terminal: Terminal) -> None:
        note = self._trouble or self._source.note
        terminal.draw(
            frame(
                self._report,
                self._rates,
                self._view,
                terminal.size,
                quantiles=self._window.quantiles(),
                note=note,
                clock=self._clock,
            )
        )

    def _show_stacks(self, terminal: Terminal) -> None:
        assert self._view.selected is not None
        self._view.open([f"asking worker {self._view.selected} ..."])
        self._draw(terminal)
        try:
            page = self._stacks(self._view.selected)
        except PreforkError as error:
            page = [str(error)]
        self._view.open(page)
