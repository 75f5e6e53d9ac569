"""docs/tutorial.md, followed to the letter: what it has typed is typed, what it says is shown is shown.

A block of Python is saved under its name. What stands behind `$ ` in a block of a console is typed: a command
that serves in the first terminal, any other in the second one. `^C` is typed in the first one. A block with
neither is what the first terminal shows. `...` stands for anything. A command that only looks may be typed
again until it shows what the page has, as a reader does who was too quick. The lines of a script, which
install prefork, are typed in the second terminal; pip takes a wheel of this build instead of the index.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from support.documents import DOCS, Block, blocks
from support.index import make_index
from support.proxies import free_port
from support.server import Server
from support.waiting import wait_until

LOOKS = ("curl -s ", "prefork explain", "prefork status", "sort ")
"""How commands begin that may be typed again."""

PATIENCE_S = 60.0
"""How long the pool has for what takes seconds."""

INSTALLATION_S = 180.0


def fits(shown: str, expected: str) -> bool:
    """Whether a terminal shows what the page has. The width of gaps does not matter."""
    pattern = ""
    for line in expected.splitlines():
        words = (re.escape(part) for part in " ".join(line.split()).split("..."))
        pattern += r"(?:.*\n)*?" if line.strip() == "..." else ".*".join(words) + r"\n"
    gaps = "".join(" ".join(line.split()) + "\n" for line in shown.splitlines())
    return re.fullmatch(pattern, gaps) is not None


class Shell:
    """The second terminal: one bash."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def type(self, command: str, patience_s: float = PATIENCE_S) -> str:
        """Runs a command and returns what it shows."""
        assert self.process.stdin
        assert self.process.stdout
        mark = f"-- {time.monotonic_ns()} --"
        self.process.stdin.write(f"{command}\necho {shlex.quote(mark)}\n".encode())
        self.process.stdin.flush()
        shown, end = b"", time.monotonic() + patience_s
        while not shown.endswith(f"{mark}\n".encode()):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{command} does not end: {shown!r}"
            part = os.read(self.process.stdout.fileno(), 65536)
            assert part, f"{command} has ended the shell: {shown!r}"
            shown += part
        return shown.decode().removesuffix(f"{mark}\n")

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


class Reader:
    """Has two terminals in an empty directory, and does what the page says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        # In a pipe, which a terminal is not, curl would show how far it is.
        (folder / ".curlrc").write_text("no-progress-meter\n")
        self.ports = {port: str(free_port()) for port in ("8000", "9900")}
        (folder / "index").mkdir()
        self.environment = {
            **os.environ,
            **make_index(folder / "index", "prefork", "dev"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
            "CURL_HOME": str(folder),
            "PREFORK_BIND": f"127.0.0.1:{self.ports['8000']}",
            "PREFORK_GLUE": f"tutorial-{os.getpid()}",
        }
        self.shell = Shell(self.folder, self.environment)
        self.server: Server | None = None

    def follow(self, block: Block) -> None:
        text = block.text
        for port, free in self.ports.items():
            text = text.replace(port, free)
        match block.language:
            case "python":
                assert block.file
                (self.folder / block.file).write_text(text)
            case "sh":
                for command in text.splitlines():
                    assert self.shell.type(f"{command} && echo typed", INSTALLATION_S).endswith("typed\n")
                assert self.shell.type("command -v prefork") == f"{self.folder}/env/bin/prefork\n"
            case "console" if not text.startswith(("$ ", "^C")):
                self.expect_of_server(text)
            case "console":
                for part in re.split(r"^(?=\$ |\^C)", text, flags=re.MULTILINE)[1:]:
                    command, _, shown = part.partition("\n")
                    self.type(command, shown)

    def type(self, command: str, shown: str) -> None:
        if command == "^C":
            assert self.server
            self.server.signal(signal.SIGINT)
            assert self.server.wait() == 0, self.server.log
            self.server = None
        elif command.startswith(("$ prefork serve ", "$ prefork dev ")):
            assert self.server is None
            self.server = Server(self.start(command.removeprefix("$ ")))
            self.server.wait_serving()
            self.expect_of_server(shown)
        else:
            self.look(command.removeprefix("$ "), shown)

    def start(self, command: str) -> subprocess.Popen[str]:
        """In the first terminal, where the environment is activated too."""
        return subprocess.Popen(
            ["bash", "-c", f". env/bin/activate && exec {command}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def look(self, command: str, expected: str) -> None:
        last = self.shell.type(command)
        if not command.startswith(LOOKS):
            assert fits(last, expected), last
            return
        end = time.monotonic() + PATIENCE_S
        while not fits(last, expected):
            assert time.monotonic() < end, f"{command}: expected\n{expected}\ngot\n{last}"
            time.sleep(0.1)
            last = self.shell.type(command)

    def expect_of_server(self, expected: str) -> None:
        server = self.server
        assert server
        for line in expected.splitlines():
            wait_until(partial(self._has_shown, server, line), line)

    @staticmethod
    def _has_shown(server: Server, line: str) -> bool:
        return any(fits(shown, line) for shown in list(server.out))

    def leave(self) -> None:
        self.shell.kill()
        if self.server:
            self.server.kill()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    one = Reader(tmp_path)
    yield one
    one.leave()


@pytest.mark.timeout(300)
def test_the_tutorial_does_what_it_says(reader: Reader) -> None:
    followed = blocks(DOCS / "tutorial.md")
    assert {block.language for block in followed} == {"sh", "python", "console"}
    for block in followed:
        reader.follow(block)
    # Its last command has stopped the server.
    assert reader.server
    assert reader.server.wait() == 0


@pytest.mark.parametrize(
    ("shown", "expected", "is_right"),
    [
        ("a  b\n", "a b\n", True),
        ("a 12 b\n", "a ... b\n", True),
        ("a\nb\nc\n", "a\n...\nc\n", True),
        ("a\nc\n", "a\n...\nc\n", True),
        ("a\nb\n", "a\n...\nc\n", False),
        ("a\nb\n", "a\n", False),
        ("", "a\n", False),
        ("", "", True),
    ],
)
def test_what_is_shown_is_compared(shown: str, expected: str, is_right: bool) -> None:
    assert fits(shown, expected) is is_right
