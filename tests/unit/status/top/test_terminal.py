"""Keys as terminals send them, and which terminals can be drawn on."""

from __future__ import annotations

import pytest

from prefork.status.top.terminal import can_draw, decode


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"", []),
        (b"qp?", ["q", "p", "?"]),
        (b"\x1b", ["escape"]),
        (b"\x1b[A\x1b[B\x1bOA", ["up", "down", "up"]),
        (b"\x1b[5~\x1b[6~x", ["page up", "page down", "x"]),
        (b"\r\n\x7f\x04", ["enter", "enter", "backspace", "q"]),
        (b"\x1b[1;5A\x1b[<0;10;10Mq", ["q"]),
        (b"\x1b[", []),
        ("é€q".encode(), ["q"]),
        (bytes(range(0x80, 0x100)), []),
    ],
)
def test_keys(data: bytes, keys: list[str]) -> None:
    assert decode(data) == keys


def test_what_is_no_terminal_cannot_be_drawn_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert not can_draw()
