"""The certificates of a server, in the process that listens: read, checked, watched and changed.

Owns what is published to the processes that serve (`TlsConfig`), and the timers of the manager: the files are
looked at each few seconds, the keys of session tickets are rotated, and a certificate that ends soon, or a
list of revoked ones that has expired, is named in the log each day. A manager that gives root's rights up may
have another process open the files (`RootReader`). Always: an error is one line that names the file and never
its content; what cannot be used leaves what is in use.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from prefork._engine import TlsConfig
from prefork.errors import OptionError
from prefork.server.root_reader import RootReader

if TYPE_CHECKING:
    from prefork.config.options import ServerOptions

logger = logging.getLogger("prefork.server")

POLL_S = 2.0
"""Between two looks at the files. A change counts when two looks have seen the same: a certificate and its
key are not replaced at once."""

DAY_S = 86400
WARNING_DAYS = 21
"""A certificate that ends within so many days is named in the log."""

ROTATION_S = DAY_S / 2
"""How long a key makes session tickets: as long as clients may use one (`TICKET_LIFETIME_S`)."""

File = tuple[str, bytes]
Signature = tuple[tuple[int, int, int, int] | None, ...]
Open = Callable[[str], int]
"""Opens a file to read it. Raises OSError."""


class Files(NamedTuple):
    """What `TlsConfig` takes."""

    pairs: list[tuple[File, File]]
    password: bytes | None
    client_ca: File | None
    revoked: File | None


class Certificates:
    """Raises OptionError if they cannot be used."""

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._names = _names(options)
        self._reader: RootReader | None = None
        self._read = self._seen = self._signature()
        self._timer: TimerHandle | None = None
        self._rotate_at = self._warn_at = 0.0
        self.trouble = ""
        """Why the files as they were read last are not used; empty if they are."""
        self.config = _config(options, _open)

    # --- rights ------------------------------------------------------------------------------------------

    def read_as_root(self) -> None:
        """Before the manager gives root's rights up: keeps a process that has them. Raises OptionError."""
        try:
            self._reader = RootReader(self._names)
        except OSError as error:
            raise OptionError(f"tls_reload_as_root: {error.strerror}") from None

    def rights_given_up(self) -> None:
        """Tells at once what this process cannot read any more, and not when a certificate has expired."""
        self._read = self._seen = self._signature()
        if self._reader is None and (refused := [one for one in self._names if not os.access(one, os.R_OK)]):
            logger.warning(
                "TLS: the user of this server cannot read %s: new certificates will need a restart; let a "
                "group of that user read it, or use --tls-reload-as-root",
                ", ".join(refused),
            )

    def lock(self) -> None:
        """In a worker: it can only read what its manager publishes. Raises OSError."""
        self.config.make_read_only()
        self.forget_reader()

    def forget_reader(self) -> None:
        """In a child of the manager: it has no file opened as root."""
        if self._reader is not None:
            self._reader.forget()
            self._reader = None

    def end(self) -> None:
        """The server ends."""
        self.close()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    # --- the manager's timers ----------------------------------------------------------------------------

    def watch(self, loop: AbstractEventLoop) -> None:
        """Looks at the files from now on, and at the time."""
        if self._timer is None:
            self._rotate_at = loop.time() + ROTATION_S
            self._look(loop)

    def close(self) -> None:
        """Watches no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, loop: AbstractEventLoop) -> None:
        self._timer = loop.call_later(POLL_S, self._look, loop)
        former, self._seen = self._seen, self._signature()
        if self._seen == former != self._read:
            self.reload()
        now = loop.time()
        if now >= self._rotate_at:
            self._rotate_at = now + ROTATION_S
            self.config.rotate_tickets()
        if now >= self._warn_at:
            self._warn_of_ends()
            self._warn_at = now + self._until_next_end_s()

    def _signature(self) -> Signature:
        if self._reader is None:
            return tuple(map(_signature, self._names))
        return tuple(_signature_of_opened(name, self._reader.open) for name in self._names)

    # --- changes -----------------------------------------------------------------------------------------

    def check(self, options: ServerOptions) -> None:
        """Whether the files that these options name can be used, if they are others. Raises OptionError."""
        if not self._are_others(options):
            return
        unknown = [name for name in _names(options) if name not in self._names]
        if self._reader is None:
            _config(options, _open)
        elif unknown:
            raise OptionError(f"TLS: {unknown[0]} is no file of the start, which takes a restart as root")

    def use(self, options: ServerOptions) -> None:
        """The files that these options name are used from now on."""
        if self._are_others(options):
            self._options, self._names = options, _names(options)
            self.reload()

    def _are_others(self, options: ServerOptions) -> bool:
        return options.certificates != self._options.certificates or _names(options) != self._names

    def reload(self) -> bool:
        """Reads the files again: handshakes that begin from now on use them. False: they cannot be used."""
        self._read = self._signature()
        try:
            self.config.update(_files(self._options, _open if self._reader is None else self._reader.open))
        except (OptionError, ValueError, OSError) as error:
            self.trouble = str(error)
            logger.error("TLS: %s; the former certificates stay", error)
            return False
        self.trouble = ""
        logger.warning("TLS: the certificates were read again, and are used from now on")
        self._warn_at = 0.0
        return True

    def describe(self) -> list[dict[str, object]]:
        """For programs that look at the status: the file of each, its subject, and when it ends."""
        return [
            {"file": name, "subject": subject, "ends_unix_s": end_s} for name, subject, end_s in self._ends()
        ]

    def _ends(self) -> list[tuple[str, str, int]]:
        """The file of each certificate, its subject and its end."""
        names = [name for name, _ in self._options.certificates]
        return [(name, *told) for name, told in zip(names, self.config.certificates, strict=True)]

    def _warn_of_ends(self) -> None:
        for name, subject, end_s in self._ends():
            days = (end_s - time.time()) / DAY_S
            if days < 0:
                logger.error("TLS: the certificate %s (%s) has expired: clients refuse it", name, subject)
            elif days < WARNING_DAYS:
                logger.warning("TLS: the certificate %s (%s) expires in %d days", name, subject, days)
        for issuer, end_s in self._revocation_lists():
            if end_s <= time.time():
                logger.error(
                    "TLS: the list of revoked certificates %s (%s) has expired: "
                    "clients with a certificate of that issuer are refused",
                    self._options.tls_client_crl,
                    issuer,
                )

    def _revocation_lists(self) -> list[tuple[str, int]]:
        """The issuer and the end of each that clients are checked against."""
        return [] if self._options.client_auth == "none" else self.config.revocation_lists

    def _until_next_end_s(self) -> float:
        """Seconds until something has expired that has not yet, a day at the most."""
        ends = [end_s for _, _, end_s in self._ends()] + [end_s for _, end_s in self._revocation_lists()]
        now = time.time()
        return min([DAY_S, *(end_s + 1 - now for end_s in ends if end_s >= now)])


def _config(options: ServerOptions, opened: Open) -> TlsConfig:
    """Raises OptionError."""
    try:
        return TlsConfig(
            _files(options, opened),
            client_auth=options.client_auth,
            min_version=options.tls_min_version,
            ciphers=options.tls_ciphers,
            protocols=options.tls_alpn,
        )
    except (ValueError, OSError) as error:
        raise OptionError(f"TLS: {error}") from None


def _names(options: ServerOptions) -> list[str]:
    """All files, each once."""
    names = [name for pair in options.certificates for name in pair]
    others = (
        *(options.ssl_intermediate_ca_cert, options.tls_key_password_file),
        *(options.tls_client_ca, options.tls_client_crl),
    )
    return list(dict.fromkeys([*names, *filter(None, others)]))


def _signature(file: str | int) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev


def _signature_of_opened(name: str, opened: Open) -> tuple[int, int, int, int] | None:
    try:
        descriptor = opened(name)
    except OSError:
        return None
    try:
        return _signature(descriptor)
    finally:
        os.close(descriptor)


def _files(options: ServerOptions, opened: Open) -> Files:
    """Raises OptionError."""

    def read(name: str) -> File:
        try:
            with open(opened(name), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # a pipe would have the manager wait
                    raise OptionError(f"cannot read {name}: it is no regular file, which can be read again")
                return name, file.read()
        except OSError as error:
            raise OptionError(f"cannot read {name}: {error.strerror}") from None

    pairs = [(read(certificate), read(key)) for certificate, key in options.certificates]
    if options.ssl_intermediate_ca_cert is not None:
        (name, chain), key = pairs[0]
        pairs[0] = (name, chain + b"\n" + read(options.ssl_intermediate_ca_cert)[1]), key
    password = None
    if options.tls_key_password_file is not None:
        password = read(options.tls_key_password_file)[1].rstrip(b"\r\n")
    return Files(
        pairs,
        password,
        read(options.tls_client_ca) if options.tls_client_ca else None,
        read(options.tls_client_crl) if options.tls_client_crl else None,
    )


def _open(name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
