"""The sockets of one server while its kernel runs: opened, closed, opened again, always on the same port."""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable
from typing import TYPE_CHECKING

from prefork.errors import BindError
from prefork.server.certificates import read_certificate
from prefork.server.environment import refuse_sockets
from prefork.server.file_limit import raise_file_limit
from prefork.server.sockets import ListeningSockets, listen

if TYPE_CHECKING:
    from prefork.config.options import ServerOptions
    from prefork.kernel.kernel import Kernel

RETRY_S = 1.0


class Listener:
    """Opens the sockets at once. Raises BindError, and OptionError if a service manager has opened others.

    `warn(text)` is called if they cannot be opened again.
    """

    def __init__(self, kernel: Kernel, options: ServerOptions, warn: Callable[[str], object]) -> None:
        self._kernel = kernel
        self._options = options
        self._warn = warn
        self._retry: TimerHandle | None = None
        refuse_sockets()
        raise_file_limit()
        sockets = listen(options.address, options.port, options.domain, options.backlog)
        self.address = sockets.address
        self.tls = read_certificate(options)
        sockets.is_encrypted = self.tls is not None
        self.port = sockets.port
        self.sockets: ListeningSockets | None = sockets
        """None while it is closed."""

    def reopen(self, opened: Callable[[], object]) -> bool:
        """Opens the sockets again and calls `opened()`. False: they are open, or the address is taken.

        In the latter case it tries again each second, `max_retries` times.
        """
        return self._reopen(opened, self._options.max_retries)

    def _reopen(self, opened: Callable[[], object], retries: int) -> bool:
        self._cancel_retry()
        if self.sockets is not None:
            return False
        options = self._options
        try:
            self.sockets = listen(options.address, self.port, options.domain, options.backlog)
        except BindError as error:
            self._warn(str(error))
            if retries > 0:
                self._retry = self._kernel.loop.call_later(RETRY_S, self._reopen, opened, retries - 1)
            return False
        opened()
        return True

    def close(self) -> bool:
        """Closes the sockets. False: they are closed."""
        self._cancel_retry()
        if self.sockets is None:
            return False
        self.sockets.close()
        self.sockets = None
        return True

    def abandon(self) -> None:
        """In a child that the application forked: closes its copies of the sockets."""
        if self.sockets is not None:
            self.sockets.close()
            self.sockets = None

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
