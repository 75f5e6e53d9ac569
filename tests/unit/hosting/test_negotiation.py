"""What of a file a request selects: ranges, preconditions and codings as RFC 9110 has them."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.hosting.static.negotiation import (
    MAX_OVERLAPS,
    MAX_RANGES,
    best_coding,
    precondition,
    range_applies,
    selected_ranges,
)

TAG = '"abc-10"'
MODIFIED_S = 1_700_000_000
THEN = formatdate(MODIFIED_S, usegmt=True)
BEFORE = formatdate(MODIFIED_S - 1, usegmt=True)
LATER = formatdate(MODIFIED_S + 1, usegmt=True)


# --- ranges -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=2-4", [(2, 3)]),
        ("Bytes = 2-4 ", [(2, 3)]),
        ("bytes=2-", [(2, 8)]),
        ("bytes=2-99", [(2, 8)]),
        ("bytes=-3", [(7, 3)]),
        ("bytes=-99", [(0, 10)]),
        ("bytes=10-", []),
        ("bytes=10-11", []),
        ("bytes=-0", []),
        ("bytes=4-2", None),
        ("bytes=", None),
        ("bytes=,", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("lines=0-1", None),
        ("bytes=0-18446744073709551615", [(0, 10)]),
        ("bytes=18446744073709551615-", []),
        ("bytes=0-9999999999999999999999", None),
        ("bytes=\u0661-2", None),
        ("bytes=0-1,3-4", [(0, 2), (3, 2)]),
        ("bytes= 3-4 ,, 0-1,", [(3, 2), (0, 2)]),
        ("bytes=0-1,-1", [(0, 2), (9, 1)]),
        ("bytes=20-,0-1,-0", [(0, 2)]),
        ("bytes=10-,11-12,-0", []),
        ("bytes=0-1,x", None),
        ("bytes=0-1,4-2", None),
        ("bytes=0-1;3-4", None),
        ("bytes=0-4,4-8", [(0, 5), (4, 5)]),
        ("bytes=0-,0-", [(0, 10), (0, 10)]),
        ("bytes=0-,0-,0-", None),
        ("bytes=0-4,2-6,4-8", None),
        ("bytes=0-4,2-6,5-8", [(0, 5), (2, 5), (5, 4)]),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(10)), [(n, 1) for n in range(10)]),
        ("bytes=" + ",".join(f"{n}-{n}" for n in (*range(10), 0)), None),
        ("bytes=" + ",".join(["10-"] * 11), []),
    ],
)
def test_the_ranges_of_ten_bytes(field: str, expected: list[tuple[int, int]] | None) -> None:
    assert selected_ranges(field, 10) == expected


def test_of_nothing_no_range_can_be_had() -> None:
    assert selected_ranges("bytes=0-", 0) == []
    assert selected_ranges("bytes=-5,0-0", 0) == []


@given(first=st.integers(0, 10**18 - 1), length=st.integers(1, 1000), size=st.integers(0, 10**6))
def test_a_range_is_what_a_slice_would_be(first: int, length: int, size: int) -> None:
    last = min(first + length - 1, 10**18 - 1)
    expected = range(size)[first : last + 1]
    found = selected_ranges(f"bytes={first}-{last}", size)
    assert found == ([(expected[0], len(expected))] if expected else [])


@given(
    ranges=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted), min_size=1, max_size=14),
    size=st.integers(0, 25),
)
def test_ranges_are_as_many_and_overlap_as_often_as_is_allowed(ranges: list[list[int]], size: int) -> None:
    wanted = [range(size)[first : last + 1] for first, last in ranges]
    wanted = [part for part in wanted if part]
    overlaps = max((sum(byte in part for part in wanted) for byte in range(size)), default=0)
    found = selected_ranges("bytes=" + ",".join(f"{first}-{last}" for first, last in ranges), size)
    if len(wanted) > MAX_RANGES or overlaps > MAX_OVERLAPS:
        assert found is None
    else:
        assert found == [(part[0], len(part)) for part in wanted]


@given(field=st.text(max_size=40) | st.text("0123456789-, ", max_size=40), size=st.integers(0, 100))
def test_whatever_is_asked_no_byte_beyond_the_end_is_meant(field: str, size: int) -> None:
    for asked in (field, f"bytes={field}"):
        for first, length in selected_ranges(asked, size) or []:
            assert 0 <= first < first + length <= size


@pytest.mark.parametrize(
    ("if_range", "applies"),
    [
        (None, True),
        (TAG, True),
        ('"other"', False),
        (f"W/{TAG}", False),
        (THEN, True),
        (LATER, False),
        ("x", False),
    ],
)
def test_a_part_is_sent_only_of_what_the_client_has(if_range: str | None, applies: bool) -> None:
    assert range_applies(if_range, TAG, MODIFIED_S) is applies


# --- preconditions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "status"),
    [
        (TAG, 304),
        (f"W/{TAG}", 304),
        (f'"x", W/"y",{TAG}', 304),
        ("*", 304),
        ('"x"', 200),
        ('"abc"', 200),
        ("abc-10", 200),
        ("", 200),
    ],
)
def test_if_none_match_compares_weakly(field: str, status: int) -> None:
    assert precondition(None, None, field, None, TAG, MODIFIED_S) == status


@pytest.mark.parametrize(
    ("field", "status"),
    [(THEN, 304), (LATER, 304), (BEFORE, 200), ("yesterday", 200), ("", 200)],
)
def test_if_modified_since(field: str, status: int) -> None:
    assert precondition(None, None, None, field, TAG, MODIFIED_S) == status


@pytest.mark.parametrize(
    ("field", "status"), [(TAG, 200), ("*", 200), (f'"x", {TAG}', 200), (f"W/{TAG}", 412), ('"x"', 412)]
)
def test_if_match_compares_strongly(field: str, status: int) -> None:
    assert precondition(field, None, None, None, TAG, MODIFIED_S) == status


@pytest.mark.parametrize(("field", "status"), [(THEN, 200), (LATER, 200), (BEFORE, 412), ("x", 200)])
def test_if_unmodified_since(field: str, status: int) -> None:
    assert precondition(None, field, None, None, TAG, MODIFIED_S) == status


def test_tags_count_more_than_dates() -> None:
    assert precondition(None, None, '"x"', LATER, TAG, MODIFIED_S) == 200
    assert precondition(TAG, BEFORE, None, None, TAG, MODIFIED_S) == 200
    assert precondition(TAG, None, TAG, None, TAG, MODIFIED_S) == 304


@pytest.mark.parametrize("field", ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"])
def test_the_dates_of_old_are_understood(field: str) -> None:
    assert precondition(None, None, None, field, TAG, 784111777) == 304
    assert precondition(None, None, None, field, TAG, 784111778) == 200


# --- codings ------------------------------------------------------------------------------------------------

STORED = ("br", "zstd", "gzip")


@pytest.mark.parametrize(
    ("field", "coding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, deflate", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("br;q=0.5, gzip", "gzip"),
        ("br;q=0.5, gzip;q=0.5", "br"),
        ("br;q=0, gzip;q=0.001", "gzip"),
        ("br;q=0", None),
        ("*", "br"),
        ("*, br;q=0", "zstd"),
        ("*;q=0", None),
        ("identity", None),
        ("identity, br;q=0.9", None),
        ("identity;q=0.5, br;q=0.9", "br"),
        ("identity;q=0, br", "br"),
        ("deflate", None),
        ("", None),
        ("br;q=2", None),
        ("br;q=x, gzip", "gzip"),
    ],
)
def test_the_coding_that_the_client_likes_best(field: str, coding: str | None) -> None:
    assert best_coding(field, STORED) == coding


@given(st.text(max_size=60))
def test_only_what_is_stored_is_chosen(field: str) -> None:
    assert best_coding(field, STORED[:1]) in ("br", None)
    assert best_coding(field, ()) is None
