"""Metrics as text: OpenMetrics 1.0, and the format of Prometheus before it (0.0.4).

Pure: families of samples, and what a scraper accepts. It must not know which metrics there are.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN = "text/plain; version=0.0.4; charset=utf-8"


class Kind(enum.StrEnum):
    """What the values of a family mean."""

    GAUGE = enum.auto()
    COUNTER = enum.auto()
    HISTOGRAM = enum.auto()
    INFO = enum.auto()


SUFFIXES = {Kind.COUNTER: "_total", Kind.INFO: "_info"}
"""What the name of each sample ends with, behind that of its family."""


class Sample(NamedTuple):
    """One value. `suffix` is what its name has behind that of a family without a suffix of its own."""

    value: float
    labels: Mapping[str, str] = {}
    suffix: str = ""


class Family(NamedTuple):
    """Samples of one meaning. A `unit` is the end of the name."""

    name: str
    kind: Kind
    meaning: str
    samples: Sequence[Sample]
    unit: str = ""


def histogram(
    name: str, meaning: str, buckets: Iterable[tuple[float, int]], total: float, unit: str = "seconds"
) -> Family:
    """`buckets` are cumulative, each with its upper bound, and the last one has all. `total` is the sum of
    what was measured.
    """
    found = list(buckets)
    samples = [Sample(count, {"le": number(float(bound))}, "_bucket") for bound, count in found]
    samples += [Sample(found[-1][1], suffix="_count"), Sample(total, suffix="_sum")]
    return Family(name, Kind.HISTOGRAM, meaning, samples, unit)


def write(families: Iterable[Family], *, is_open: bool) -> str:
    """The text: OpenMetrics if `is_open`, and else the older format."""
    lines = [line for family in families for line in _lines(family, is_open=is_open)]
    return "\n".join([*lines, "# EOF"] if is_open else lines) + "\n"


def _lines(family: Family, *, is_open: bool) -> Iterator[str]:
    suffix = SUFFIXES.get(family.kind, "")
    # The older format has the whole name there, and knows no information.
    name = family.name if is_open else family.name + suffix
    kind = Kind.GAUGE if family.kind is Kind.INFO and not is_open else family.kind
    yield f"# TYPE {name} {kind}"
    if family.unit and is_open:
        yield f"# UNIT {name} {family.unit}"
    yield f"# HELP {name} {_escape(family.meaning) if is_open else _escape_line(family.meaning)}"
    for value, labels, own in family.samples:
        shown = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
        yield f"{family.name}{own or suffix}{'{' + shown + '}' if shown else ''} {number(value)}"


def _escape_line(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _escape(text: str) -> str:
    return _escape_line(text).replace('"', r"\"")


def number(value: float) -> str:
    """A number as both formats have it."""
    if isinstance(value, float) and math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if value != value else repr(value)


def accepts_open(accept: str) -> bool:
    """Whether a scraper that sends this Accept field (RFC 9110, section 12.5.1) wants OpenMetrics: it names
    that, and prefers nothing that is here.
    """
    best = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for part in accept.split(","):
        kind, *parameters = (one.strip().lower() for one in part.split(";"))
        given = dict(one.partition("=")[::2] for one in parameters)
        is_known = kind != "application/openmetrics-text" or given.get("version", "1.0.0") in (
            "1.0.0",
            "0.0.1",
        )
        if kind in best and is_known:
            best[kind] = max(best[kind], _quality(given.get("q", "1")))
    wanted, other = best.values()
    return wanted > 0 and wanted >= other


def _quality(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        return 0.0
    return min(found, 1.0) if found > 0 else 0.0
