"""A service manager, as a service sees it: it hears notifications and keeps descriptors (sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from support.apps import APPS
from support.server import Server
from support.waiting import wait_until

LAUNCHER = str(APPS / "launcher.py")
PREFORK = (sys.executable, "-m", "prefork", "serve")
CREDENTIALS = struct.Struct("iII")


class ServiceManager:
    """Hears on a socket with a path or, as `@name`, on an abstract one."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.messages: list[dict[str, str]] = []
        self.pids: list[int] = []
        """Which process has sent each of them."""
        self.kept: dict[str, list[socket.socket]] = {}
        self.servers: list[Server] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def read(self) -> list[dict[str, str]]:
        """All messages so far, each by the names of its assignments."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data, ancillary, _, _ = self._socket.recvmsg(4096, 4096)
                message = dict(line.split("=", 1) for line in data.decode().splitlines())
                descriptors: list[int] = []
                for _, kind, content in ancillary:
                    if kind == socket.SCM_CREDENTIALS:
                        self.pids.append(CREDENTIALS.unpack(content)[0])
                    else:
                        descriptors += struct.unpack(f"{len(content) // 4}i", content)
                self._keep(message, descriptors)
                self.messages.append(message)
        return self.messages

    def _keep(self, message: dict[str, str], descriptors: list[int]) -> None:
        name = message.get("FDNAME", "")
        if "FDSTOREREMOVE" in message:
            for one in self.kept.pop(name, []):
                one.close()
        if "FDSTORE" in message:
            known = {os.fstat(one.fileno()).st_ino for one in self.kept.get(name, [])}
            for descriptor in descriptors:
                one = socket.socket(fileno=descriptor)
                if os.fstat(descriptor).st_ino in known:
                    one.close()
                else:
                    self.kept.setdefault(name, []).append(one)

    def heard(self, name: str) -> list[str]:
        """The values of one assignment, in their order."""
        return [message[name] for message in self.read() if name in message]

    def wait(self, name: str, count: int = 1) -> str:
        """Wait until it was heard so often. Return the last value."""
        return wait_until(lambda: self.heard(name)[count - 1 :], f"{name} {count} times")[-1]

    def start(self, *arguments: str, store: int = 0, **variables: str) -> Server:
        """Start a server as the service. `store` is how many descriptors may be kept."""
        environ = os.environ | {"PYTHONUNBUFFERED": "1", "NOTIFY_SOCKET": self.address} | variables
        if store:
            environ["FDSTORE"] = str(store)
        names = [name for name, sockets in self.kept.items() for _ in sockets]
        numbers = [one.fileno() for sockets in self.kept.values() for one in sockets]
        command = [*PREFORK, *arguments]
        if numbers:
            command = [sys.executable, LAUNCHER, ",".join(map(str, numbers)), ":".join(names), *command]
        server = Server(
            subprocess.Popen(
                command,
                pass_fds=numbers,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environ,
            )
        )
        self.servers.append(server)
        return server

    def close(self) -> None:
        for server in self.servers:
            server.kill()
        self._socket.close()
        for sockets in self.kept.values():
            for one in sockets:
                one.close()


@contextlib.contextmanager
def service_manager(directory: Path, *, abstract: bool = False) -> Iterator[ServiceManager]:
    address = f"@prefork-test-{os.getpid()}-{directory.name}" if abstract else str(directory / "notify")
    with contextlib.closing(ServiceManager(address)) as manager:
        yield manager
