"""Leaves a child behind that has every descriptor of its worker open, as a library that forks may."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess

TEXT = [("Content-Type", "text/plain")]


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/") or "hello"](environ, start_response)


def hello(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", "5")])
    return [b"hello"]


def fork(environ, start_response):
    """Without the functions of `os.register_at_fork`. Responds with the pid of the child."""
    pid = ctypes.CDLL(None).fork()
    if pid == 0:
        while True:
            signal.pause()
    start_response("200 OK", TEXT)
    return [str(pid).encode()]


def inherited(environ, start_response):
    """The descriptors that a program gets which is to inherit all."""
    read, write = os.pipe()
    listing = f"import os; os.write({write}, repr(sorted(os.listdir('/proc/self/fd'), key=int)).encode())"
    os.set_inheritable(write, True)
    subprocess.run(["python3", "-c", listing], close_fds=False, check=True)
    os.close(write)
    names = os.read(read, 65536).decode()
    os.close(read)
    start_response("200 OK", TEXT)
    return [names.replace(f"'{write}'", "'pipe'").encode()]
