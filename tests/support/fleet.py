"""Nodes behind HAProxy as deploy/haproxy.cfg has it: its own words on each, and clients that go on asking."""

from __future__ import annotations

import contextlib
import csv
import http.client
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from support.apps import APPS
from support.deploy import DEPLOY
from support.proxies import HAPROXY, free_port, run_configured
from support.server import Server, start_server
from support.waiting import DEADLINE_S, wait_until

CONFIGURATION = DEPLOY / "haproxy.cfg"
TOKEN = "0123456789abcdef"


def agent_line(port: int, sent: bytes = b"", host: str = "127.0.0.1") -> str:
    """What the agent check says there, up to the end of the connection."""
    with socket.create_connection((host, port), timeout=DEADLINE_S) as sock:
        sock.sendall(sent)
        said = b""
        while received := sock.recv(4096):
            said += received
    return said.decode()


class Node:
    """One server with an admin listener and an agent check. Its ports stay when it is started again."""

    def __init__(self, name: str, directory: Path, workers: int) -> None:
        self.name = name
        self.workers = workers
        self.port, self.admin, self.agent = free_port(), free_port(), free_port()
        self._directory = directory / name
        self._directory.mkdir()
        self.server: Server | None = None

    def start(self) -> Server:
        self.stop()
        token = self._directory / "token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        self.server = start_server(
            *(f"{APPS}/node.py", "--bind", f"127.0.0.1:{self.port}", "--workers", str(self.workers)),
            *("--admin", f"127.0.0.1:{self.admin}", "--agent-check", f"127.0.0.1:{self.agent}"),
            *("--admin-token-file", str(token), "--graceful-timeout", "10"),
            cwd=self._directory,
            env={"NODE": self.name},
        )
        return self.server.wait_serving()

    def stop(self) -> None:
        if self.server is not None:
            self.server.kill()

    @property
    def is_listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def line(self) -> str:
        return agent_line(self.agent, TOKEN.encode() + b"\n")


class Fleet:
    """Nodes of these sizes, and HAProxy. `edit` changes its configuration before it starts."""

    def __init__(self, directory: Path, sizes: tuple[int, int], edit: Callable[[str], str] = str) -> None:
        self.nodes = [Node(name, directory, size) for name, size in zip(("one", "two"), sizes, strict=True)]
        self._directory = directory
        self._edit = edit
        self.port = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[Fleet]:
        try:
            for node in self.nodes:
                node.start()
            command = [str(HAPROXY), "-db", "-f"]
            file = self._directory / "haproxy.cfg"
            with contextlib.contextmanager(run_configured)(command, file, PREFORK_TOKEN=TOKEN) as begin:
                self.port = begin(self._edit(self._configuration()))
                wait_until(self._takes_commands, "the socket of HAProxy")
                for node in self.nodes:
                    self.wait_state(node, "UP")
                yield self
        finally:
            for node in self.nodes:
                node.stop()

    @property
    def _stats(self) -> str:
        return str(self._directory / "haproxy.sock")

    def _configuration(self) -> str:
        """That of deploy/, with the addresses of this machine."""
        text = CONFIGURATION.read_text()
        for number, node in enumerate(self.nodes, 11):
            text, count = re.subn(
                rf"10\.0\.0\.{number}:8000 (.*) port 9900 (.*) agent-port 9901",
                rf"127.0.0.1:{node.port} \1 port {node.admin} \2 agent-port {node.agent}",
                text,
            )
            assert count == 1
        for former, other in {
            "bind :80\n": "bind 127.0.0.1:{port}\n",
            "/run/haproxy/admin.sock": self._stats,
        }.items():
            assert text.count(former) == 1, former
            text = text.replace(former, other)
        return text

    # --- what HAProxy says -------------------------------------------------------------------------------

    def tell(self, command: str) -> str:
        """Send one command to HAProxy, and return what it says."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(DEADLINE_S)
            sock.connect(self._stats)
            sock.sendall(command.encode() + b"\n")
            said = b""
            while received := sock.recv(65536):
                said += received
        return said.decode()

    def _takes_commands(self) -> bool:
        """The socket has a name before it listens."""
        try:
            return bool(self.tell("show stat"))
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    def row(self, node: Node) -> dict[str, str]:
        """What it shows of a node."""
        table = self.tell("show stat").removeprefix("# ").splitlines()
        (found,) = (
            row for row in csv.DictReader(table) if (row["pxname"], row["svname"]) == ("shop", node.name)
        )
        return dict(found)

    def state(self, node: Node) -> str:
        return self.row(node)["status"]

    def weight(self, node: Node) -> int:
        """That by which it distributes now."""
        return int(self.row(node)["weight"])

    def wait_state(self, node: Node, *states: str) -> None:
        wait_until(
            lambda: self.state(node).startswith(states), f"{node.name} to be {' or '.join(states)} in HAProxy"
        )


class Outcome(NamedTuple):
    """Of one request: the node that responded, or what went wrong instead."""

    node: str
    error: str
    took_s: float
    began_s: float


class Clients:
    """Clients that ask through HAProxy again and again, each when it has its response."""

    def __init__(self, port: int, count: int, *, seconds: float = 0.0, method: str = "GET") -> None:
        self._port = port
        self._path = f"/?{seconds}"
        self._method = method
        self._stop = threading.Event()
        self.outcomes: list[Outcome] = []
        self._threads = [threading.Thread(target=self._go_on, daemon=True) for _ in range(count)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def _go_on(self) -> None:
        while not self._stop.is_set():
            began_s = time.monotonic()
            node, error = self._ask()
            self.outcomes.append(Outcome(node, error, time.monotonic() - began_s, began_s))

    def _ask(self) -> tuple[str, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE_S)
        try:
            with contextlib.closing(connection):
                connection.request(self._method, self._path, body=b"x" if self._method == "POST" else None)
                response = connection.getresponse()
                body = response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return "", repr(error)
        return (body, "") if response.status == 200 else ("", f"{response.status}")

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.error]

    def served(self, since: int = 0) -> Counter[str]:
        """How many requests each node has responded to, from that one on."""
        return Counter(outcome.node for outcome in self.outcomes[since:])

    def more(self, count: int, *nodes: Node) -> Counter[str]:
        """Wait for that many more from these nodes each, or from any. Return what came meanwhile."""
        since = len(self.outcomes)

        def came() -> bool:
            if not nodes:
                return len(self.outcomes) >= since + count
            served = self.served(since)
            return all(served[node.name] >= count for node in nodes)

        names = " and ".join(node.name for node in nodes) or "any"
        wait_until(came, f"{count} more responses of {names}", 2 * DEADLINE_S)
        return self.served(since)
