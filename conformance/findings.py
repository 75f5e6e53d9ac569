"""What a program has found."""

from __future__ import annotations

from dataclasses import dataclass, field


class Missing(Exception):
    """The program is not on this machine. The text says how it gets there."""


@dataclass
class Findings:
    """The results of one program."""

    program: str
    """Its name and version."""
    what: str
    """What it is run against."""
    results: dict[str, str] = field(default_factory=dict)
    """Its words for each group of cases."""
    failed: list[str] = field(default_factory=list)
    """The cases that a server should pass and this one does not."""
