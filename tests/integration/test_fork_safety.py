"""What an application opens while it is loaded, and workers must not share, is named at start."""

from __future__ import annotations

from support.apps import APPS
from support.server import Serve


def test_it_is_named_with_the_module_that_holds_it(serve: Serve) -> None:
    server = serve(APPS / "unsafe_at_import.py", "--workers", "1")
    assert server.get("/") == b"ok"
    named = [
        line.partition("the mold has ")[2].partition("; every worker would share it: ") for line in server.err
    ]
    loop, ends, file = sorted(what for what, _, advice in named if "--no-preload" in advice)
    assert loop == "an epoll set, one of a pair of sockets of unsafe_at_import.loop"
    assert ends == "one of a pair of sockets of unsafe_at_import.ends"
    assert file.endswith("(deleted), open for writing, of unsafe_at_import.file")


def test_without_a_pool_nothing_is_named(serve: Serve) -> None:
    server = serve(APPS / "unsafe_at_import.py", "--start", "0")
    assert server.get("/") == b"ok"
    assert server.err == []
