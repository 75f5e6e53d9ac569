"""What part and form of a file a request selects: pure functions of its header fields.

RFC 9110, sections 12.5.3 (codings), 13 (preconditions) and 14 (ranges). What is malformed in a field is
ignored, as these sections require.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from functools import lru_cache

MAX_RANGES = 10
MAX_OVERLAPS = 2
"""How many ranges of one request may have the same byte (14.2)."""

_RANGES = re.compile(r"bytes[ \t]*=(.*)", re.IGNORECASE)
_RANGE = re.compile(r"([0-9]{1,20})-([0-9]{1,20})?|-([0-9]{1,20})")
_WEIGHT = re.compile(r"q[ \t]*=[ \t]*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


# Ranges


def selected_ranges(field: str, size: int) -> list[tuple[int, int]] | None:
    """(first byte, number of bytes) of each range that `size` bytes have, in the order of the field; none if
    there is no such range.

    None if all should be sent: the field is malformed, or asks for too many ranges (14.2).
    """
    unit = _RANGES.fullmatch(field)
    if unit is None:
        return None
    found = []
    members = [member for text in unit[1].split(",") if (member := text.strip(" \t"))]
    for member in members:
        limits = _RANGE.fullmatch(member)
        if limits is None:
            return None
        first, last, suffix = (None if group is None else int(group) for group in limits.groups())
        if first is None:
            first = max(size - (suffix or 0), 0)
        elif last is not None and last < first:
            return None
        length = (size if last is None else min(last + 1, size)) - first
        if length > 0:
            found.append((first, length))
    if not members or len(found) > MAX_RANGES or _most_overlaps(found) > MAX_OVERLAPS:
        return None
    return found


def _most_overlaps(ranges: Sequence[tuple[int, int]]) -> int:
    """How many ranges have the byte that is in the most of them. It is the first byte of one of them."""
    counts = (sum(start <= first < start + length for start, length in ranges) for first, _ in ranges)
    return max(counts, default=0)


def range_applies(if_range: str | None, tag: str, modified_s: int) -> bool:
    """Whether the client has a part of exactly this representation (13.1.5)."""
    if if_range is None:
        return True
    if if_range.startswith(('"', "W/")):
        return if_range == tag  # by strong comparison, and ours is strong
    return _date_s(if_range) == modified_s


# Preconditions


def precondition(
    if_match: str | None,
    if_unmodified_since: str | None,
    if_none_match: str | None,
    if_modified_since: str | None,
    tag: str,
    modified_s: int,
) -> int:
    """The status that the preconditions give, in their order (13.2.2): 200, 304 or 412."""
    if if_match is not None:
        if not _matches(if_match, tag, weak=False):
            return 412
    elif if_unmodified_since is not None:
        date_s = _date_s(if_unmodified_since)
        if date_s is not None and modified_s > date_s:
            return 412
    if if_none_match is not None:
        return 304 if _matches(if_none_match, tag, weak=True) else 200
    if if_modified_since is not None:
        date_s = _date_s(if_modified_since)
        if date_s is not None and modified_s <= date_s:
            return 304
    return 200


def _matches(field: str, tag: str, *, weak: bool) -> bool:
    """Whether a list of entity tags names ours, which is strong (8.8.3.2)."""
    if field == tag or field.strip() == "*":
        return True
    return any(f'"{opaque}"' == tag and (weak or not is_weak) for is_weak, opaque in _TAG.findall(field))


@lru_cache(maxsize=256)
def _date_s(field: str) -> int | None:
    try:
        return int(parsedate_to_datetime(field).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None


# Codings


@lru_cache(maxsize=256)
def best_coding(field: str, stored: Sequence[str]) -> str | None:
    """The coding among `stored`, best first, that the client prefers; None: uncoded."""
    weights = _weights(field)
    anything = weights.get("*", 0.0)
    rated = [(weights.get(coding, anything), -place, coding) for place, coding in enumerate(stored)]
    best, _, coding = max(rated, default=(0.0, 0, None))
    # Uncoded is always acceptable; it wins only if the client prefers it.
    return coding if best > 0.0 and best >= weights.get("identity", 0.0) else None


def _weights(field: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for member in field.split(","):
        coding, *parameters = (part.strip() for part in member.split(";"))
        found = _WEIGHT.fullmatch(parameters[0]) if parameters else None
        if parameters and found is None:
            continue
        weights[coding.lower().removeprefix("x-")] = float(found[1]) if found else 1.0
    return weights
