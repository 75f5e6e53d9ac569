"""The line of a request on the terminal."""

from __future__ import annotations

import pytest

from prefork.hosting.dev.request_lines import request_line


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (b"GET\t/\t\t200\t3", "GET    200 / 3 ms"),
        (b"DELETE\t/a/b\tx=1\t404\t12", "DELETE 404 /a/b?x=1 12 ms"),
        (b"-\t-\t-\t400\t0", "-      400 - 0 ms"),
    ],
)
def test_it_has_method_status_path_and_time(fields: bytes, line: str) -> None:
    assert request_line(fields, in_colors=False) == line


@pytest.mark.parametrize(("status", "color"), [("200", "32"), ("302", "34"), ("404", "33"), ("500", "31")])
def test_the_status_has_a_color(status: str, color: str) -> None:
    assert f"\x1b[{color}m{status}\x1b[m" in request_line(f"GET\t/\t\t{status}\t3".encode(), in_colors=True)


def test_a_slow_one_stands_out() -> None:
    assert "\x1b[33m2000 ms" in request_line(b"GET\t/\t\t200\t2000", in_colors=True)
    assert "\x1b[2m200 ms" in request_line(b"GET\t/\t\t200\t200", in_colors=True)
