"""A command in a pseudo-terminal: what it draws, what is pressed, and what it leaves behind."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading

from support.waiting import DEADLINE_S, wait_until

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


class Screen:
    """A command in a pseudo-terminal: what it has written, and what is on its screen."""

    def __init__(
        self, *arguments: str, size: tuple[int, int] = (80, 24), env: dict[str, str] | None = None
    ) -> None:
        self.reader, self.writer = pty.openpty()
        self.resize(*size)
        self.former = termios.tcgetattr(self.writer)
        self.written = ""
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=self.writer,
            stdout=self.writer,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TERM": "xterm-256color"} | (env or {}),
            preexec_fn=self._control,
        )
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _control(self) -> None:
        """In the child: the terminal sends its signals there."""
        os.setsid()
        fcntl.ioctl(self.writer, termios.TIOCSCTTY, 0)

    def _read(self) -> None:
        while not self._over.is_set():
            if select.select([self.reader], [], [], 0.05)[0]:
                try:
                    self.written += os.read(self.reader, 65536).decode(errors="replace")
                except OSError:
                    return

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._over.set()
        self._thread.join()
        if self.process.stderr is not None:
            self.process.stderr.close()
        os.close(self.reader)
        os.close(self.writer)

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.writer, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    @property
    def lines(self) -> list[str]:
        """The last whole frame, as text."""
        frames = self.written.split("\x1b[H")
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", frames[-1]).split("\r\n")

    def press(self, keys: str) -> None:
        os.write(self.reader, keys.encode())

    def wait(self, text: str) -> None:
        wait_until(lambda: any(text in line for line in self.lines), f"{text!r} on the screen")

    def ended(self) -> int:
        """Its exit status. The terminal is as it was before."""
        status = self.process.wait(DEADLINE_S)
        wait_until(lambda: LEAVE in self.written, "the screen to be given back")
        assert self.written.rindex(LEAVE) > self.written.rindex(ENTER)
        assert self.written.count(ENTER) == self.written.count(LEAVE)
        assert self.written.rindex("\x1b[?25h") > self.written.rindex("\x1b[?25l")
        assert termios.tcgetattr(self.writer) == self.former
        return status
