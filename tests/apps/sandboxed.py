"""A WSGI application that does what a sandbox is about: `/write?/path`, `/connect?port`, `/signal?pid` ..."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable
from multiprocessing import Lock
from pathlib import Path
from typing import Any
from urllib.parse import unquote

libc = ctypes.CDLL(None, use_errno=True)


def write(path: str) -> str:
    Path(path).write_text("changed")
    return "written"


def read(path: str) -> str:
    return Path(path).read_text()


def rename(paths: str) -> str:
    source, target = paths.split(":")
    os.rename(source, target)
    return "renamed"


def connect(port: str) -> str:
    socket.create_connection(("127.0.0.1", int(port))).close()
    return "connected"


def abstract(name: str) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(f"\0{name}")
    return "connected"


def signal(pid: str) -> str:
    os.kill(int(pid), 0)
    return "itself" if int(pid) == os.getpid() else "another"


def limit(pid: str) -> str:
    return str(resource.prlimit(int(pid), resource.RLIMIT_NOFILE))


def call(number: str) -> str:
    if libc.syscall(int(number), 0, 0, 0, 0) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "done"


def allowed(_: str) -> str:
    """What ordinary applications do."""
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    with Lock(), open(os.devnull, "w") as nothing:
        subprocess.run(["true"], check=True, stdout=nothing)
    with subprocess.Popen(["sleep", "60"]) as child:
        child.terminate()
    return "done"


def status(name: str) -> str:
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    return dict(line.split(":\t") for line in lines)[name]


def threads(name: str) -> str:
    """One line of the status of each thread."""
    tasks = [str(task / "status") for task in Path("/proc/self/task").iterdir()]
    return " ".join(dict(line.split(":\t") for line in read(task).splitlines())[name] for task in tasks)


ACTIONS: dict[str, Callable[[str], str]] = {
    function.__name__: function
    for function in (write, read, rename, connect, abstract, signal, limit, call, allowed, status, threads)
}


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Does it, and returns what failed. `/logged/` logs it, as Django and Flask do; `/fail/` raises it."""
    environ["wsgi.input"].read()
    *how, action = environ["PATH_INFO"].strip("/").split("/")
    try:
        text = ACTIONS[action](unquote(environ["QUERY_STRING"]))
    except OSError as error:
        if how == ["fail"]:
            raise
        if how == ["logged"]:
            logging.getLogger("shop").exception("a view failed")
        text = type(error).__name__
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]
