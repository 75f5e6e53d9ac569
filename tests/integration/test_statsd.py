"""`--statsd`: the figures of a pool, as gunicorn names them, to a real socket."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.apps import APPS
from support.server import Serve, run_prefork
from support.waiting import DEADLINE_S, wait_until

TARGET = Path(f"{APPS / 'log_texts.py'}:wsgi")
LINE = re.compile(r"shop\.(gunicorn\.[\w.]+):([\d.]+)\|(c|g|ms)(?:\|@([\d.]+))?")


class Receiver:
    """A StatsD server that adds up."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.setblocking(False)
        self.counts: Counter[str] = Counter()
        self.gauges: dict[str, float] = {}
        self.durations: list[float] = []

    def read(self) -> Receiver:
        while True:
            try:
                datagram = self.sock.recv(65536).decode("ascii")
            except BlockingIOError:
                return self
            for line in datagram.split("\n"):
                found = LINE.fullmatch(line)
                assert found, line
                name, value, kind, rate = found.groups()
                if kind == "c":
                    self.counts[name] += round(float(value) / float(rate))
                elif kind == "g":
                    self.gauges[name] = float(value)
                else:
                    assert name == "gunicorn.request.duration"
                    self.durations += [float(value)] * round(1 / float(rate))


@pytest.fixture(params=["udp", "unix", "name"])
def receiver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Receiver]]:
    """The address to give, and who hears it."""
    if request.param == "unix":
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(str(tmp_path / "statsd"))
        place = f"unix:{tmp_path}/statsd"
    else:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        host = {"udp": "127.0.0.1", "name": "localhost"}[request.param]
        place = f"{host}:{sock.getsockname()[1]}"
    with sock:
        yield place, Receiver(sock)


def test_the_figures_arrive_with_the_names_of_gunicorn(serve: Serve, receiver: tuple[str, Receiver]) -> None:
    place, heard = receiver
    server = serve(TARGET, "--workers", "2", "--statsd", place, "--statsd-prefix", "shop.")
    wait_until(lambda: heard.read().gauges.get("gunicorn.workers") == 2, "the workers")
    for _ in range(5):
        assert server.request("/raises/it")[0] == 500
    wait_until(lambda: heard.read().counts["gunicorn.requests"] >= 5, "the requests")
    wait_until(lambda: heard.read().counts["gunicorn.log.exception"] == 5, "the lines of workers")
    (worker, *_) = server.workers()
    os.kill(worker, signal.SIGKILL)
    of_manager = ("gunicorn.log.warning", "gunicorn.log.error")
    wait_until(lambda: sum(heard.read().counts[name] for name in of_manager), "the line about its end")
    assert server.stop() == 0
    assert heard.read().counts["gunicorn.request.status.500"] == 5
    assert len(heard.durations) == heard.counts["gunicorn.requests"]
    assert all(0 < duration < 60_000 for duration in heard.durations)


def test_what_was_counted_last_is_sent_at_the_end(serve: Serve) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        heard = Receiver(sock)
        place = f"127.0.0.1:{sock.getsockname()[1]}"
        server = serve(TARGET, "--workers", "1", "--statsd", place, "--statsd-prefix", "shop")
        for _ in range(3):
            server.request("/silent/it")
        assert server.stop() == 0
        assert heard.read().counts["gunicorn.requests"] == 3


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("no-such-host.invalid:8125", "its name is not known: "),
        ("127.0.0.1:9", "Connection refused"),
        ("unix:/no/such/socket", "No such file or directory"),
    ],
)
def test_a_server_that_cannot_be_reached_is_one_line_and_no_delay(serve: Serve, place: str, why: str) -> None:
    began = time.monotonic()
    server = serve(TARGET, "--workers", "1", "--statsd", place)
    assert server.request("/silent/it")[0] == 500
    assert time.monotonic() - began < DEADLINE_S
    line = server.wait_log(f"statsd {place} does not get the figures: ")
    assert why in line
    time.sleep(2.5)  # nothing else may come in more than two intervals
    assert server.log.count("does not get the figures") == 1
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--statsd", "localhost"), "--statsd: expected host:port"),
        (("--statsd", "8125"), "--statsd: expected host:port"),
        (("--statsd", "a:1,tls"), "--statsd: expected host:port"),
        (("--statsd", "a:1", "--statsd-prefix", "a b"), "--statsd-prefix: expected letters"),
        (("--statsd", "a:1", "--start", "0"), "statsd tells of a pool"),
        (("--statsd-host", "a:1"), "use --statsd"),
    ],
)
def test_a_wrong_address_is_one_line(options: tuple[str, ...], says: str) -> None:
    done = run_prefork("serve", str(TARGET), "--bind", "127.0.0.1:0", *options)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert says in line
