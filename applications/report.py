"""What was seen of an application: its checks, and why those failed that did."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from applications.environments import Missing

T = TypeVar("T")


class Late(BaseException):
    """The time of a part is over. It is no Exception: what a check tries does not catch it."""


@dataclass
class Report:
    """The results of one part."""

    application: str
    """Its name and version."""
    about: str
    """What of it is used, and how."""
    served: list[str] = field(default_factory=list)
    """The options of each `prefork serve`."""
    checks: dict[str, str] = field(default_factory=dict)
    """Each check, and what was wrong: an empty text if it passed."""
    seconds: float = 0.0

    @property
    def failed(self) -> dict[str, str]:
        return {check: reason for check, reason in self.checks.items() if reason}

    @contextlib.contextmanager
    def check(self, text: str) -> Iterator[None]:
        """What is done inside is one check. If it raises, the check has failed, and the next one follows."""
        if text in self.checks:
            raise ValueError(f"expected a check of its own text, got {text!r} again")
        self.checks[text] = "not finished"
        try:
            yield
        except Missing:
            del self.checks[text]
            raise
        except Exception as error:
            said = re.sub(r"\s+", " ", str(error)).strip()
            self.checks[text] = f"{type(error).__name__}: {said[:400]}"
            print(f"    FAILED {text}: {self.checks[text]}", flush=True)
        else:
            self.checks[text] = ""


def same(found: T, expected: T) -> None:
    """Raise AssertionError unless both are equal."""
    if found != expected:
        raise AssertionError(f"expected {_short(expected)}, found {_short(found)}")


def holds(found: object, part: object) -> None:
    """Raise AssertionError unless `part` is in `found`."""
    if part not in found:  # type: ignore[operator]
        raise AssertionError(f"expected {_short(part)} in {_short(found)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:100]} ... {text[-50:]}"
