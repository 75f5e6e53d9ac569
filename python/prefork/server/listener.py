"""The sockets of one server while its kernel runs: opened, closed, opened again, always on the same ports.

Always: it listens on every address of the server or on none.
"""

from __future__ import annotations

import dataclasses
from asyncio import TimerHandle
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from prefork.config.endpoints import Endpoint, Kind
from prefork.errors import BindError, OptionError
from prefork.server.certificates import Certificates
from prefork.server.environment import passed_as
from prefork.server.file_limit import raise_file_limit
from prefork.server.sockets import Listening, ListeningSockets, listen

if TYPE_CHECKING:
    from prefork._engine import TlsConfig
    from prefork.config.options import ServerOptions
    from prefork.kernel.kernel import Kernel

RETRY_S = 1.0


class SocketDefaults(NamedTuple):
    """Who may use the Unix sockets whose address does not say it: the user that the server will run as."""

    user: str | None = None
    group: str | None = None
    umask: int | None = None


class Listener:
    """Opens the sockets at once. Raises BindError, and OptionError for a certificate that cannot be used.

    `warn(text)` is called if they cannot be opened again.
    """

    def __init__(
        self,
        kernel: Kernel,
        options: ServerOptions,
        warn: Callable[[str], object],
        defaults: SocketDefaults = SocketDefaults(),  # noqa: B008  (it never changes)
    ) -> None:
        self._kernel = kernel
        self._options = options
        self._warn = warn
        self._retry: TimerHandle | None = None
        self.certificates = Certificates(options) if options.certificates else None
        """None: the server speaks without TLS."""
        endpoints = _resolved(options.endpoints)
        redirecting = _resolved(options.redirect_http)
        self._served = len(endpoints)
        self._encrypted = _encrypted(endpoints, has_certificate=self.certificates is not None)
        self._encrypted += [False] * len(redirecting)
        raise_file_limit()
        self._places: list[ListeningSockets | Endpoint] = [
            _completed(endpoint, options, defaults) for endpoint in [*endpoints, *redirecting]
        ]
        """Those that are open or rest as sockets; those that are closed as where they were."""
        self.sockets: Listening | None = self._open()
        """None while it is closed."""
        self.address = self.sockets.address
        self.port = self.sockets.port

    @property
    def tls(self) -> TlsConfig | None:
        """What the sockets speak TLS with."""
        return None if self.certificates is None else self.certificates.config

    def watch(self) -> None:
        """In the process that reads the certificates: looks at their files from now on."""
        if self.certificates is not None:
            self.certificates.watch(self._kernel.loop)

    def lock_certificates(self) -> None:
        """In a worker: it can only read what its manager publishes. Raises OSError."""
        if self.certificates is not None:
            self.certificates.lock()

    def _open(self) -> Listening:
        """Opens all that are closed. Raises BindError, and none is open then."""
        opened: list[ListeningSockets] = []
        try:
            for place, is_encrypted in zip(self._places, self._encrypted, strict=True):
                if isinstance(place, Endpoint):
                    opened.append(listen(place))
                    opened[-1].is_encrypted = is_encrypted
                    # The service manager is given those of the servers that it waits for.
                    opened[-1].is_kept &= self._options.signals
                else:
                    opened.append(place)
                    place.resume()
        except BindError:
            self._shut(opened)
            raise
        self._places = list(opened)
        return Listening(opened[: self._served], opened[self._served :])

    def _shut(self, opened: list[ListeningSockets]) -> None:
        for index, place in enumerate(opened):
            if place.stays:
                place.rest()
                self._places[index] = place
            else:
                place.close()
                self._places[index] = place.endpoint

    def reopen(self, opened: Callable[[], object]) -> bool:
        """Opens the sockets again and calls `opened()`. False: they are open, or an address is taken.

        In the latter case it tries again each second, `max_retries` times.
        """
        return self._reopen(opened, self._options.max_retries)

    def _reopen(self, opened: Callable[[], object], retries: int) -> bool:
        self._cancel_retry()
        if self.sockets is not None:
            return False
        try:
            self.sockets = self._open()
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
        self._shut([*self.sockets.places, *self.sockets.redirecting])
        self.sockets = None
        if self.certificates is not None:
            self.certificates.close()
        return True

    def lend(self, *, lent: bool) -> None:
        """Whether another manager has the sockets as well."""
        for place in self._places:
            if isinstance(place, ListeningSockets):
                place.lend(lent=lent)

    def end(self) -> None:
        """Closes the sockets for good, also those that rest."""
        self.close()
        for index, place in enumerate(self._places):
            if isinstance(place, ListeningSockets):
                place.close()
                self._places[index] = place.endpoint
        if self.certificates is not None:
            self.certificates.end()

    def abandon(self) -> None:
        """In a child that the application forked: closes its copies of the sockets."""
        for place in self._places:
            if isinstance(place, ListeningSockets):
                place.close()
        self.sockets = None
        if self.certificates is not None:
            self.certificates.forget_reader()

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None


def _resolved(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """The addresses with each passed socket by its number. Raises OptionError."""
    found: list[Endpoint] = []
    for endpoint in endpoints:
        if endpoint.kind is Kind.SYSTEMD:
            numbers = passed_as(endpoint.address)
            found += [
                dataclasses.replace(endpoint, kind=Kind.DESCRIPTOR, address=None, descriptor=number)
                for number in numbers
            ]
        else:
            found.append(endpoint)
    numbers = [one.descriptor for one in found if one.descriptor is not None]
    for number in numbers:
        if numbers.count(number) > 1:
            raise OptionError(f"the socket fd://{number} is named twice")
    return found


def _completed(endpoint: Endpoint, options: ServerOptions, defaults: SocketDefaults) -> Endpoint:
    """An address with what the server's options say where it says nothing itself."""
    own_mode = endpoint.mode is not None or endpoint.umask is not None
    return dataclasses.replace(
        endpoint,
        backlog=endpoint.backlog or options.backlog,
        proxy=options.proxy_protocol if endpoint.proxy is None else endpoint.proxy,
        reuse_port=options.reuse_port if endpoint.reuse_port is None else endpoint.reuse_port,
        user=endpoint.user or defaults.user,
        group=endpoint.group or defaults.group,
        umask=endpoint.umask if own_mode else defaults.umask,
    )


def _encrypted(endpoints: Sequence[Endpoint], *, has_certificate: bool) -> list[bool]:
    """Which of the addresses speak TLS: those that say so or, if none does, all with a certificate.

    Raises OptionError for one that says so without a certificate.
    """
    said = [endpoint.tls for endpoint in endpoints]
    if any(said) and not has_certificate:
        raise OptionError(
            f"{endpoints[said.index(True)]} is to speak TLS, but there is no certificate; use --tls-cert"
        )
    return said if any(said) else [has_certificate] * len(said)
