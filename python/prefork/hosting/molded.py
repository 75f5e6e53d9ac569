"""An application that a mold loads, and what its manager does instead of loading it.

A target that is a program, with a kernel or a server of its own, is run by the process that loads it. Whether
a target is one is only known when it is loaded. One whose source does not name this package is none.
"""

from __future__ import annotations

import os
import re
from functools import partial
from typing import TYPE_CHECKING

from prefork._engine import die_with_parent
from prefork.hosting.application import host
from prefork.hosting.configuring import check_applicable, configure_server, mount_static, set_up_log
from prefork.hosting.target import add_to_path, application_of, find, is_program, source_of, split
from prefork.kernel.kernel import Kernel
from prefork.kernel.patches import refuse_patches
from prefork.logs.handler import uninstall
from prefork.pool.server import PreForkServer

if TYPE_CHECKING:
    from prefork.config.options import AppOptions, ServeOptions
    from prefork.config.sources import Given

PROGRAM = 64
"""The exit status of the process that has looked at a target, if that is a program."""

NAMES_US = re.compile(rb"\bprefork\b")


def molded(
    target: str, app_options: AppOptions, options: ServeOptions, given: Given
) -> PreForkServer | None:
    """A server whose pool has a mold that loads the target. Raises OptionError.

    None: this process loads it, because it is a program, there is no pool, or the files of the application
    are outside of its `--chroot`.
    """
    if app_options.interface == "events" or options.chroot is not None:
        return None
    server = PreForkServer(Kernel())
    configure_server(target, server, given)
    add_to_path(split(target)[0])
    if not server.options.start_servers or _names_program(target):
        return None
    server.load = partial(_load, server, target, app_options, options, given)
    return server


def _load(
    server: PreForkServer, target: str, app_options: AppOptions, options: ServeOptions, given: Given
) -> None:
    """In the mold: loads the application into the server. Raises TargetError and OptionError."""
    uninstall()  # logging.basicConfig() of the application does nothing if there is a handler
    application = application_of(find(target), app_options, target)
    host(server, application, app_options, f"{target}()" if app_options.factory else target)
    refuse_patches(target)
    check_applicable(target, server.service, given)
    mount_static([server], options)
    set_up_log(options)


def _names_program(target: str) -> bool:
    """Whether the target is a program. If its source names this package, a process of its own loads it, and
    looks.
    """
    source = source_of(split(target)[0])
    if source is None or not NAMES_US.search(source):
        return False
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        try:
            die_with_parent(parent)
            nowhere = os.open(os.devnull, os.O_RDWR)
            for standard in (0, 1, 2):
                os.dup2(nowhere, standard)  # what it prints, it prints once more where it serves
            os._exit(PROGRAM if is_program(find(target)) else 0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == PROGRAM
