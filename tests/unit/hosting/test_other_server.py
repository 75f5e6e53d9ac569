"""Which line of a stack runs another server: see `integration/test_other_server.py` for the rest."""

from __future__ import annotations

import sys
import threading
import types

from prefork.hosting.other_server import Line, serving_line


def module(name: str) -> types.ModuleType:
    """A module in whose `serve(wait)` a thread waits."""
    found = types.ModuleType(name)
    path = f"/lib/site-packages/{name}.py"
    exec(compile("def serve(wait): wait()", path, "exec"), found.__dict__)
    return found


def line_of_thread(name: str) -> Line | None:
    """The line of a thread whose stack has no code of the user, as that of gevent's hub."""
    ended = threading.Event()
    thread = threading.Thread(target=module(name).serve, args=(ended.wait,))
    thread.start()
    try:
        assert thread.ident is not None
        return serving_line(sys._current_frames()[thread.ident])
    finally:
        ended.set()
        thread.join()


def test_a_server_on_a_stack_of_its_own_has_no_line() -> None:
    assert line_of_thread("gevent") == Line("", "gevent")


def test_a_module_that_serves_is_told_from_its_package() -> None:
    assert line_of_thread("django.utils.autoreload") == Line("", "django")
    assert line_of_thread("django.apps.registry") is None
