"""An application that a mold loads, and what its manager does instead of loading it.

A target that is a program, with a kernel or a server of its own, is run by the process that loads it. Whether
a target is one is only known when it is loaded. One whose source does not name this package is taken for an
application; a mold that finds a program says so (NotMolded), and the process that serves loads it then.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import socket
import sys
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, NamedTuple

from prefork._engine import die_with_parent
from prefork.config.endpoints import Kind
from prefork.config.options import AppOptions, ServeOptions
from prefork.errors import OptionError
from prefork.hosting.application import host
from prefork.hosting.configuring import (
    check_applicable,
    configure_server,
    mount_static,
    options_from,
    serve_options,
    set_up_log,
)
from prefork.hosting.fork_safety import look, opened_since, warn_of_unsafe
from prefork.hosting.target import add_to_path, application_of, find, source_of, split
from prefork.kernel.forking import exit_at_once
from prefork.kernel.kernel import Kernel
from prefork.kernel.patches import refuse_patches
from prefork.logs.console import complain
from prefork.logs.handler import uninstall
from prefork.pool.server import PreForkServer
from prefork.pool.spawner import NotMolded

if TYPE_CHECKING:
    from prefork.config.options import PreForkOptions
    from prefork.config.sources import Given
    from prefork.hosting.fork_safety import Before
    from prefork.pool.privileges import Privileges

logger = logging.getLogger("prefork.pool")

NAMES_US = re.compile(rb"\bprefork\b")


class Read(NamedTuple):
    """What a mold needs to load an application: the values that were given, as options of each kind."""

    given: Given
    of_application: AppOptions
    of_command: ServeOptions
    of_server: PreForkOptions


FIXED = (
    *("listeners", "redirect_http", "ipc_glue", "refork_after", "admin", "admin_token_file", "agent_check"),
    *("tls_min_version", "tls_ciphers", "tls_alpn", "tls_client_auth"),
)
"""Options of the server that a reload does not change."""
FILES = (
    *("tls_cert", "tls_key", "tls_key_password_file", "tls_client_ca", "tls_client_crl"),
    *("ssl_key_cert", "ssl_intermediate_ca_cert"),
)
"""Those that it changes, unless TLS begins or ends, or whether clients are asked for their certificates."""
SCALED = ("min_spare_servers", "max_spare_servers", "max_clients")
"""Those that `prefork scale` changes. A reload changes them only if their source has."""


class MoldedApplication:
    """The target of `prefork serve`, as a mold loads it. `gather()` reads the values again, for a reload."""

    def __init__(
        self, server: PreForkServer, target: str, first: Read, gather: Callable[[], Given] | None
    ) -> None:
        self._server = server
        self._target = target
        self.first = first
        self._gather = gather
        self._accepted = self._read = first
        """What the sources had when a generation was accepted, and when they last had no mistake."""
        self._loaded: tuple[AppOptions, Before] | None = None
        """In a mold, and its workers: with what it was loaded, and what the process had then."""

    def read(self) -> Read:
        """Reads configuration file and environment again. Raises OptionError."""
        if self._gather is None:
            return self.first
        given = self._gather()
        read = read_options(self._target, given)
        former = self._server.options
        fixed = fixed_options(former, read.of_server)
        for name in fixed:
            if getattr(read.of_server, name) != getattr(former, name):
                logger.warning("reload: %s has changed, which takes a restart; it stays as it is", name)
        before = self._accepted.of_server
        same = [name for name in SCALED if getattr(read.of_server, name) == getattr(before, name)]
        stays = (*fixed, "start_servers", "address", "port", "domain", *same)
        kept = {name: getattr(former, name) for name in stays}
        options = dataclasses.replace(read.of_server, **kept)
        if (certificates := self._server.certificates) is not None:
            certificates.check(options)
        self._read = read
        return read._replace(of_server=options)

    def accept(self, read: Read) -> None:
        """In the manager: the options of the new generation."""
        self._server.use(read.of_server)
        if (certificates := self._server.certificates) is not None:
            certificates.use(read.of_server)
        for name in ("log_format", "log_config"):
            if getattr(read.of_command, name) != getattr(self.first.of_command, name):
                logger.warning("reload: %s has changed, which takes a restart; it stays as it is", name)
        if read.of_command.log_level != self._accepted.of_command.log_level:
            self._server.set_log_level(read.of_command.log_level)
        self._accepted = self._read

    def preloads(self, read: Read) -> bool:
        """Whether the mold loads it, and not each worker."""
        return read.of_application.preload

    def load(self, read: Read) -> None:
        """In the mold, or in a worker: loads the application into the server. Raises NotMolded, TargetError
        and OptionError.
        """
        uninstall()  # logging.basicConfig() of the application does nothing if there is a handler
        server, target, options = self._server, self._target, read.of_application
        server.options = read.of_server
        before, pid = look(), os.getpid()
        application = application_of(find(target), options, target)
        if os.getpid() != pid:  # its parent serves
            complain(f"a child that {target} forked while it was loaded ends here")
            exit_at_once(0)
        self.host(application, options)
        refuse_patches(target)
        check_applicable(target, server.service, read.given)
        mount_static([server], read.of_command)
        log_config = self.first.of_command.log_config  # that which this process has inherited
        set_up_log(dataclasses.replace(read.of_command, log_config=log_config))
        if not options.preload:
            return
        from prefork.hosting.warming import warm  # here, not in the memory of the manager

        warm(server.service, options)
        warn_of_unsafe(before, threads=False)  # those are named at the first fork
        server.kernel.is_immortal = read.of_command.immortal
        if self.reforks(read):
            self._loaded = options, look()

    def host(self, application: object, options: AppOptions) -> None:
        """In the same process: has the server serve what the target has."""
        host(self._server, application, options, f"{self._target}()" if options.factory else self._target)

    def reforks(self, read: Read) -> bool:
        """Whether a worker may become the next mold."""
        return read.of_server.refork_after > 0

    def settle(self, ours: Collection[int]) -> list[str]:
        """In such a worker, which serves no more: has the application close what workers must not share.
        Returns what is open all the same, but for the descriptors `ours`. Raises OptionError and TargetError.
        """
        from prefork.hosting.loop_bound import unbind
        from prefork.hosting.warming import settle  # as in `load`

        assert self._loaded is not None
        options, before = self._loaded
        self._server.service.rest()
        settle(options)
        return [*opened_since(before, ours), *unbind()]


def fixed_options(former: PreForkOptions, read: PreForkOptions) -> list[str]:
    """The options that a reload does not change."""
    fixed = list(FIXED)
    if bool(former.certificates) != bool(read.certificates) or former.client_auth != read.client_auth:
        fixed += FILES
    if bool(former.start_servers) != bool(read.start_servers):  # how many there are at the start is past
        fixed.append("start_servers")
    return fixed


def molded(
    target: str,
    given: Given,
    gather: Callable[[], Given] | None,
    *,
    out_of_reach: str = "",
    is_successor: bool = False,
    kind: Callable[..., MoldedApplication] = MoldedApplication,
) -> PreForkServer | None:
    """A server whose pool has a mold that loads the target. Raises OptionError.

    `kind` makes what loads it, with the arguments of a MoldedApplication. `out_of_reach` is why a mold could
    not, see `why_out_of_reach`. `is_successor`: it takes the place of one that listens.

    None: this process loads it, because it is a program, there is no pool, or a mold could not.
    """
    read = read_options(target, given)
    if read.of_application.interface == "events":
        return None
    add_to_path(split(target)[0])
    if not read.of_server.start_servers:
        return None
    if out_of_reach:
        if not read.of_application.preload:
            raise OptionError(f"no_preload: no worker could load the application: {out_of_reach}")
        return None
    is_certain = is_successor or _is_undoable(read)
    if read.of_application.interface == "auto" and _is_program(
        target, read.of_application, is_certain=is_certain
    ):
        return None
    server = PreForkServer(Kernel())
    server.options = read.of_server
    server.application = kind(server, target, read, gather)
    return server


def read_options(target: str, given: Given) -> Read:
    """The options of an application among the values that were given. Raises OptionError."""
    server = PreForkServer(Kernel())
    configure_server(target, server, given)
    if server.options.refork_after and not options_from(AppOptions, given).preload:
        raise OptionError("refork_after needs the application in the process that forks: without no_preload")
    return Read(given, options_from(AppOptions, given), serve_options(given), server.options)


def why_out_of_reach(target: str, privileges: Privileges | None) -> str:
    """What would keep a mold, which has given up these privileges, from the application's files; empty if
    nothing would.
    """
    if privileges is None:
        return ""
    if privileges.root is not None:
        return "they are outside of --chroot"
    add_to_path(split(target)[0])
    hidden = privileges.out_of_reach(sys.path)
    return hidden and f"--user and --group cannot read {hidden}"


def _is_undoable(read: Read) -> bool:
    """Whether a server that a mold finds to be a program can be closed, and begun anew as that.

    Rights are given up once, and a socket that was passed is closed once.
    """
    options = read.of_command
    passed = any(one.kind in (Kind.SYSTEMD, Kind.DESCRIPTOR) for one in read.of_server.endpoints)
    return options.user is None and options.group is None and not passed and _is_free(read.of_server)


def _is_free(options: PreForkOptions) -> bool:
    """Whether the server can listen. A program may have another address than the default."""
    if options.port is None:  # an address is given
        return True
    try:
        with socket.create_server((options.address or "", options.port)):
            return True
    except OSError:
        return False


def _is_program(target: str, options: AppOptions, *, is_certain: bool) -> bool:
    """Whether the target is a program, as far as that is seen before a mold loads it.

    A process of its own loads it and looks, if its source names this package or the mold comes too late.
    """
    source = source_of(split(target)[0])
    if is_certain and (source is None or not NAMES_US.search(source)):
        return False
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        try:
            die_with_parent(parent)
            nowhere = os.open(os.devnull, os.O_RDWR)
            for standard in (0, 1, 2):
                os.dup2(nowhere, standard)  # what it prints, it prints once more where it serves
            application_of(find(target), options, target)
        except NotMolded as program:
            os._exit(program.exit_status)
        finally:
            os._exit(0)  # what is wrong with it is told where it is loaded
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == NotMolded.exit_status
