"""The terminal of `prefork top`: keys without Enter, a screen of its own, and the former state afterwards.

Always: whatever ends the program but SIGKILL, the terminal is as before: an exception, ^C, TERM, HUP, QUIT. A
stop (^Z) leaves it as before too, and takes it again when the program goes on.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from types import FrameType, TracebackType

from rich.console import Console
from rich.text import Text

ENTER = b"\x1b[?1049h\x1b[?25l"
LEAVE = b"\x1b[0m\x1b[?25h\x1b[?1049l"
"""The alternate screen without a cursor, and back (xterm's names: ti, te, civis, cnorm)."""

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

KEYS = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1b[C": "right",
    b"\x1b[D": "left",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\x1b[H": "home",
    b"\x1b[F": "end",
    b"\x1b[1~": "home",
    b"\x1b[4~": "end",
    b"\x1b": "escape",
    b"\r": "enter",
    b"\n": "enter",
    b"\x7f": "backspace",
    b"\x04": "q",
}
"""What terminals send for keys that are no characters. ^D quits."""


class Ended(BaseException):
    """A signal ends the program."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_status = 128 + signum


def can_draw() -> bool:
    """Whether standard input and output are a terminal that can be drawn on."""
    try:
        both = sys.stdin.isatty() and sys.stdout.isatty()
    except (AttributeError, ValueError):  # they are closed
        return False
    return both and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")


def decode(data: bytes) -> list[str]:
    """The keys of what a terminal has sent. An unknown sequence is none."""
    found = []
    while data:
        if data.startswith((b"\x1b[", b"\x1bO")):
            end = next((at for at in range(2, len(data)) if 0x40 <= data[at] <= 0x7E), len(data))
            sequence, data = data[: end + 1], data[end + 1 :]
        else:
            sequence, data = data[:1], data[1:]
        if sequence in KEYS:
            found.append(KEYS[sequence])
        elif len(sequence) == 1 and 0x20 <= sequence[0] < 0x7F:
            found.append(sequence.decode("ascii"))
    return found


class Terminal:
    """To be used with `with`. Raises Ended inside if a signal ends the program."""

    def __init__(self) -> None:
        self._input = sys.stdin.fileno()
        self._output = sys.stdout.fileno()
        self._former = termios.tcgetattr(self._input)
        self._handlers: dict[int, object] = {}
        self._waker, self._woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Terminal:
        self._selector.register(self._input, selectors.EVENT_READ)
        self._selector.register(self._waker, selectors.EVENT_READ)
        for signum in ENDING:
            self._handlers[signum] = signal.signal(signum, _end)
        self._handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._stop)
        self._handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, _nothing)
        # A signal wakes the selector: it would go on waiting otherwise (PEP 475).
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        try:
            self._take()
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self._restore()

    def _restore(self) -> None:
        self._give_back()
        signal.set_wakeup_fd(-1)
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]
        self._selector.close()
        os.close(self._waker)
        os.close(self._woken)

    def _take(self) -> None:
        tty.setcbreak(self._input)  # signals of keys stay
        self._write(ENTER)

    def _give_back(self) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone
            self._write(LEAVE)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._former)

    def _stop(self, _signum: int, _frame: FrameType | None) -> None:
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, at this moment."""
        try:
            width, height = os.get_terminal_size(self._output)
        except OSError:
            width, height = shutil.get_terminal_size()
        return width or 80, height or 24

    def draw(self, lines: Sequence[Text]) -> None:
        """Shows the lines in place of the former ones: as many as it has."""
        console = Console(
            file=sys.stdout, width=self.size[0], force_terminal=True, highlight=False, markup=False
        )
        with console.capture() as captured:
            for line in lines:
                console.print(line, soft_wrap=True)
        # Each line is erased when it is written: to erase the screen first would make it flicker. The last
        # one ends without a line break, which would move all of them up.
        text = captured.get().removesuffix("\n").replace("\n", "\n\x1b[2K")
        try:
            self._write(f"\x1b[H\x1b[2K{text}".encode(sys.stdout.encoding or "utf-8", "replace"))
        except OSError:  # the terminal is gone
            raise Ended(signal.SIGHUP) from None

    def keys(self, within_s: float) -> Iterator[str]:
        """The keys that are pressed until then. Ends earlier if there are some, or if the size has changed.
        A terminal that has gone is as `q`.
        """
        ready = {key.fd for key, _ in self._selector.select(max(0.0, within_s))}
        if self._waker in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._waker, 4096)
        if self._input in ready:
            try:
                data = os.read(self._input, 4096)
            except OSError:
                data = b""
            yield from decode(data) if data else ["q"]

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._output, data) :]


def _end(signum: int, _frame: FrameType | None) -> None:
    raise Ended(signum)


def _nothing(_signum: int, _frame: FrameType | None) -> None:
    pass
