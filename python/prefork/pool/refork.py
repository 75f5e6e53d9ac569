"""A refork: a worker that has served for a while becomes the next mold (manager; `--refork-after`).

Its steps: another worker takes the place of that one; it finishes its requests and ends, but for its process,
which says that it is a mold, or why it cannot be one; that mold forks one worker. When this one is ready it
goes on as a reload does: the new mold takes the place of the old one, and its workers that of the others.
Always: what fails before that leaves the pool as it was. `next_mold.py` is the other end.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from prefork.pool.mold import LARGEST, Word, decode, encode
from prefork.pool.reload import Reload

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from prefork.config.options import PreForkOptions
    from prefork.pool.mold_spawner import MoldSpawner
    from prefork.pool.spawner import Process
    from prefork.pool.supervisor import Supervisor

logger = logging.getLogger("prefork.pool")


class Refork(Reload):
    """One attempt, with the worker of the slot `index`."""

    name = "refork"
    first_worker = "the first worker of the new mold"
    cancel_level = logging.INFO  # it was not asked for

    def __init__(
        self,
        loop: AbstractEventLoop,
        spawner: MoldSpawner,
        supervisor: Supervisor,
        options: PreForkOptions,
        ended: Callable[[Reload], object],
        index: int,
    ) -> None:
        super().__init__(loop, spawner, supervisor, None, options, ended)
        self._molds = spawner
        self._index = index
        self._process: Process | None = None
        self._channel: socket.socket | None = None
        self._is_told = False

    def begin(self) -> None:
        """Has the worker replaced."""
        process = self._supervisor.end_by(self._index, self._end_worker)
        if process is None or process.channel is None:
            self._loop.call_soon(self.cancel, "its worker ends, or has no channel")
            return
        self._process = process
        self._channel, process.channel = process.channel, None
        self._loop.add_reader(self._channel.fileno(), self._hear)
        why = "no other worker was ready within boot_timeout"
        self._timer = self._loop.call_later(self._options.boot_timeout, self.cancel, why)

    def _end_worker(self, process: Process) -> None:
        """Another worker is ready: this one ends, and becomes a mold if nothing has come between."""
        if self._timer is not None:
            self._timer.cancel()
        if self._channel is not None:
            with contextlib.suppress(OSError):
                self._channel.send(encode(Word.BECOME), socket.MSG_DONTWAIT)
                self._is_told = True
                return
        process.signal(signal.SIGTERM)

    def _hear(self) -> None:
        assert self._channel is not None
        try:
            said = self._channel.recv(LARGEST, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        match decode(said):
            case [Word.LOADED] if self._is_told:
                self._adopt()
            case [Word.FAILED, str(what), *_]:
                self._fail(f"worker {self._pid} cannot become a mold: {what}")
            case _ if said:
                self._fail(f"worker {self._pid} says what is not expected of it")
            case _:
                self._fail(f"worker {self._pid} has ended, and is no mold")

    def _adopt(self) -> None:
        """The process is a mold."""
        process, channel = self._process, self._take_channel()
        assert process is not None
        assert channel is not None
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        if not self._supervisor.let_go(self._index, process):
            channel.close()
            self._fail(f"worker {self._pid} has ended, and is no mold")
            return
        logger.info("refork: process %d is no worker any more, and forks workers", process.pid)
        self._molds.adopt_next(process, channel, self._mold_ended)
        self._loaded()

    @property
    def _pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _take_channel(self) -> socket.socket | None:
        channel, self._channel = self._channel, None
        if channel is not None:
            self._loop.remove_reader(channel.fileno())
        return channel

    def discard(self) -> None:
        if self._channel is not None:
            self._channel.close()

    def _drop(self) -> None:
        """Without the channel the worker ends as any other."""
        if (channel := self._take_channel()) is not None:
            channel.close()
        super()._drop()
