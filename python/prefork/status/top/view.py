"""What the operator of `prefork top` has chosen, and what each key does (pure)."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

SORTS = {"a": "age", "b": "busy", "m": "memory", "r": "requests", "c": "cpu", "n": "slot"}
"""The keys that sort the workers, and by what."""

HELP = (
    "q            quit",
    "p or space   pause, and go on",
    "up, down     select a worker (also k, j; page up, page down, home, end)",
    "s or enter   what the selected worker does, and its Python stack; escape goes back",
    "a b c m r n  sort the workers by age, busy, CPU, memory, requests, slot; again: the other way",
    "?            this page",
    "",
    "In the grid each cell is a worker:",
    "  o spare   # active   + starting   - draining   ! stuck",
    "",
    "REQ/S, BUSY and CPU are of the last interval. P99 is the time in the application, of all",
    "requests that the worker has had. MEMORY counts what workers share for each of them.",
    "Quantiles are of the last ten reports: wait is the time of a request until the application is",
    "called, application from then to the head of the response, last byte to its end.",
)


class Action(enum.Enum):
    """What a key asks for beside a change of the view."""

    QUIT = "quit"
    STACK = "stack"


@dataclass(slots=True)
class View:
    """`selected` is the pid of a worker. `page` is shown in place of the pool, from its line `top` on."""

    sort: str = "slot"
    reverse: bool = False
    paused: bool = False
    selected: int | None = None
    page: Sequence[str] | None = None
    top: int = 0
    order: Sequence[int] = field(default_factory=tuple)
    """The pids of the workers as they were shown last."""

    def press(self, key: str) -> Action | None:
        """Does what a key is for. Unknown ones do nothing."""
        if self.page is not None:
            return self._press_on_page(key)
        if key == "q":
            return Action.QUIT
        if key in ("p", " "):
            self.paused = not self.paused
        elif key == "?":
            self.open(HELP)
        elif key in SORTS:
            self.reverse = SORTS[key] == self.sort and not self.reverse
            self.sort = SORTS[key]
        elif key in ("s", "enter") and self.order:
            if self.selected not in self.order:
                self.selected = self.order[0]
            return Action.STACK
        else:
            self._move(key)
        return None

    def open(self, page: Sequence[str]) -> None:
        """Shows a page of text."""
        self.page, self.top = page, 0

    def _press_on_page(self, key: str) -> Action | None:
        assert self.page is not None
        if key == "q":
            return Action.QUIT
        if key in ("escape", "s", "?", "enter", "left", "backspace"):
            self.page = None
        else:
            self.top = max(0, min(self.top + STEPS.get(key, 0), len(self.page) - 1))
        return None

    def _move(self, key: str) -> None:
        step = STEPS.get(key)
        if step is None or not self.order:
            return
        if self.selected in self.order:
            place = self.order.index(self.selected)
        else:
            place = -1 if step > 0 else len(self.order)
        self.selected = self.order[max(0, min(place + step, len(self.order) - 1))]


STEPS = {
    "up": -1,
    "k": -1,
    "down": 1,
    "j": 1,
    "page up": -10,
    "page down": 10,
    "home": -(10**9),
    "end": 10**9,
}
"""How far each key moves."""
