"""What a fork leaves behind."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading

import pytest

from prefork.kernel.live_threads import libraries, warn_of_live_threads

MAPS = """\
55d0-55d1 r-xp 00000000 08:02 1 /usr/bin/python3.11
7f00-7f01 r-xp 00000000 08:02 2 /v/lib/python3.11/site-packages/scikit_learn.libs/libgomp-a34b3233.so.1.0.0
7f01-7f02 rw-p 00000000 08:02 2 /v/lib/python3.11/site-packages/scikit_learn.libs/libgomp-a34b3233.so.1.0.0
7f02-7f03 r-xp 00000000 08:02 3 /v/lib/python3.11/site-packages/torch/lib/libiomp5.so
7f03-7f04 r-xp 00000000 08:02 4 /v/lib/python3.11/site-packages/torch/lib/libcudart-218eec4c.so.12
7f04-7f05 r-xp 00000000 08:02 5 /usr/lib/python3/dist-packages/grpc/_cython/cygrpc.cpython-311-x86_64.so
7f05-7f06 r-xp 00000000 08:02 6 /usr/lib/x86_64-linux-gnu/libgomp.so.1.0.0
7f06-7f07 r-xp 00000000 08:02 7 /v/lib/python3.11/site-packages/numpy.libs/libscipy_openblas64_-ff651d7f.so
7f07-7f08 rw-p 00000000 00:00 0 [heap]
7f08-7f09 rw-p 00000000 00:00 0
"""


def test_each_library_is_named_once_with_the_module_that_brought_it() -> None:
    assert libraries(MAPS.splitlines()) == [
        "OpenMP of scikit_learn",
        "OpenMP of torch",
        "CUDA of torch",
        "gRPC of grpc",
        "OpenMP of libgomp.so.1.0.0",
    ]


def test_a_thread_of_python_is_named_with_its_module(caplog: pytest.LogCaptureFixture) -> None:
    class Flusher(threading.Thread):
        def run(self) -> None:
            end.wait()

    end = threading.Event()
    threads = [threading.Thread(target=end.wait, name="waiter"), Flusher(name="flusher")]
    for thread in threads:
        thread.start()
    warn_of_live_threads()
    end.set()
    for thread in threads:
        thread.join()
    assert "thread 'waiter' of threading" in caplog.text
    assert f"thread 'flusher' of {__name__}" in caplog.text
    caplog.clear()
    warn_of_live_threads()
    assert caplog.text == ""


def test_a_thread_that_each_child_starts_again_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    def export() -> None:
        end.wait()

    export.__module__ = "opentelemetry.sdk.trace.export"
    end = threading.Event()
    thread = threading.Thread(target=export, name="exporter")
    thread.start()
    warn_of_live_threads()
    end.set()
    thread.join()
    assert "exporter" not in caplog.text


def test_every_other_thread_counts_for_a_process_that_may_have_none() -> None:
    """In a process of its own: others of the tests have threads."""
    source = """
        import ctypes, threading
        from prefork.kernel.live_threads import other_threads
        assert other_threads() == [], other_threads()
        end = threading.Event()
        thread = threading.Thread(target=end.wait, name="waiter")
        thread.start()
        print(other_threads())
        end.set()
        thread.join()
        libc = ctypes.CDLL(None)
        libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc.pause, None)
        print(other_threads())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    python, native = done.stdout.splitlines()
    assert python == """["thread 'waiter' of threading"]"""
    assert native.startswith("[\"native thread '")


ENDING = """
from prefork.kernel.live_threads import live_threads
print(live_threads(former()))
os._exit(0)
"""


def live_threads_of(code: str) -> str:
    """What `live_threads` finds in a process of its own that has run this."""
    whole = f"import os\nformer = tuple\n{textwrap.dedent(code)}\n{ENDING}"
    return subprocess.check_output([sys.executable, "-uc", whole], text=True, timeout=60).strip()


def test_a_native_thread_with_a_name_of_its_own_is_named() -> None:
    code = """
        import ctypes
        libc = ctypes.CDLL(None)
        for name in (b"pool-7", b"python", b"libuv-worker"):
            thread = ctypes.c_ulong()
            assert libc.pthread_create(ctypes.byref(thread), None, libc.pause, None) == 0
            libc.pthread_setname_np(thread, name)
        libc.prctl(15, b"python", 0, 0, 0)
    """
    assert live_threads_of(code) == "[\"native thread 'pool-7'\"]"
    former = "from prefork.kernel.live_threads import thread_ids as former"
    assert live_threads_of(f"{textwrap.dedent(code)}\n{former}") == "[]"


def test_the_threads_of_uvloop_are_not_named() -> None:
    code = """
        import uvloop
        loop = uvloop.new_event_loop()
        loop.run_until_complete(loop.getaddrinfo("localhost", 80))
        assert len(os.listdir("/proc/self/task")) > 1
        loop.close()
    """
    assert live_threads_of(code) == "[]"
