"""The writer of metrics, held to the parsers of prometheus_client."""

from __future__ import annotations

import math

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_plain

from prefork.admin.openmetrics import Family, Kind, Sample, accepts_open, histogram, number, write

FAMILIES = [
    Family("a_build", Kind.INFO, "What it is.", [Sample(1, {"version": "1.0"})]),
    Family(
        "a_ratio",
        Kind.GAUGE,
        "A share.",
        [
            Sample(0.25),
        ],
    ),
    Family("a_size_bytes", Kind.GAUGE, 'A "size"\\\nin bytes', [Sample(12)], "bytes"),
    Family(
        "a_seen",
        Kind.COUNTER,
        "How often.",
        [Sample(3, {"how": 'so "and"\\\nso'}), Sample(4, {"how": "else"})],
    ),
    histogram("a_wait_seconds", "How long.", [(0.001, 1), (2.5e-05 * 100, 4), (math.inf, 5)], 0.5),
]


def test_openmetrics_is_what_its_parser_reads() -> None:
    text = write(FAMILIES, is_open=True)
    found = {family.name: family for family in read_open(text)}
    assert {name: family.type for name, family in found.items()} == {
        "a_build": "info",
        "a_ratio": "gauge",
        "a_size_bytes": "gauge",
        "a_seen": "counter",
        "a_wait_seconds": "histogram",
    }
    assert found["a_size_bytes"].unit == "bytes"
    assert found["a_size_bytes"].documentation == 'A "size"\\\nin bytes'
    seen = {sample.labels["how"]: sample.value for sample in found["a_seen"].samples}
    assert seen == {'so "and"\\\nso': 3, "else": 4}
    waits = [
        (sample.name, sample.labels.get("le"), sample.value) for sample in found["a_wait_seconds"].samples
    ]
    assert waits == [
        ("a_wait_seconds_bucket", "0.001", 1),
        ("a_wait_seconds_bucket", "0.0025", 4),
        ("a_wait_seconds_bucket", "+Inf", 5),
        ("a_wait_seconds_count", None, 5),
        ("a_wait_seconds_sum", None, 0.5),
    ]
    assert text.endswith("\n# EOF\n")


def test_the_older_format_has_the_same_values() -> None:
    text = write(FAMILIES, is_open=False)
    assert "# EOF" not in text
    assert "# UNIT" not in text
    assert "# TYPE a_seen_total counter" in text
    open_values = {
        (sample.name, *sample.labels.items()): sample.value
        for family in read_open(write(FAMILIES, is_open=True))
        for sample in family.samples
    }
    plain_values = {
        (sample.name, *sample.labels.items()): sample.value
        for family in read_plain(text)
        for sample in family.samples
    }
    assert plain_values == open_values


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (0.1, "0.1"), (math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"), (1e300, "1e+300")],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


@pytest.mark.parametrize(
    "accept", [PROMETHEUS, "application/openmetrics-text", "Application/OpenMetrics-Text; version=1.0.0"]
)
def test_a_scraper_that_wants_openmetrics(accept: str) -> None:
    assert accepts_open(accept)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/html",
        "text/plain;version=0.0.4",
        "application/openmetrics-text;q=0",
        "application/openmetrics-text;version=9.0.0",
        "text/plain, application/openmetrics-text;q=0.5",
        "application/openmetrics-text;q=x",
        "application/vnd.google.protobuf;proto=x;q=0.7,text/plain;q=0.3",
    ],
)
def test_one_that_does_not(accept: str) -> None:
    assert not accepts_open(accept)
