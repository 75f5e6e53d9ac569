"""What the command `prefork serve` takes itself."""

# ruff: noqa: RUF009  (a field made by `option()` is a dataclass field: instances share nothing)
from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Self

from prefork.config.access_log import skipped_paths
from prefork.config.log import log_configuration
from prefork.config.option import Group, Options, option
from prefork.config.reloading import directories, patterns
from prefork.config.static_files import TO_APPLICATION, fallbacks, lifetimes, mounts
from prefork.config.values import (
    boolean,
    choice,
    directory,
    group_name,
    optional,
    output_file,
    permissions,
    text,
    user_name,
)
from prefork.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions(Options):
    """Options of the command `prefork serve` itself."""

    log_level: str = option(
        Group.LOGGING,
        "info",
        choice("debug", "info", "warning", "error", "critical"),
        "Lowest level of messages to log.",
    )
    log_format: str = option(
        Group.LOGGING,
        "text",
        choice("text", "json"),
        "Format of the log: lines of text, or one JSON object a line.",
    )
    log_config: str | dict[str, Any] | None = option(
        Group.LOGGING,
        None,
        optional(log_configuration),
        "File that configures logging instead, for Python's logging.config: JSON, TOML or INI.",
    )
    immortal: bool = option(
        Group.PROCESS,
        False,
        boolean,
        "Fix the reference counts of code, types, strings and other lasting objects before workers are "
        "forked, so that they share more memory. On CPython 3.12 and 3.13.",
    )
    static: tuple[tuple[str, str], ...] = option(
        Group.APPLICATION,
        (),
        mounts,
        "Serve files of a directory under a path, in front of the application. `-` instead of a directory "
        "leaves the path to the application. Can be repeated.",
    )
    static_fallback: tuple[tuple[str, str], ...] = option(
        Group.APPLICATION,
        (),
        fallbacks,
        "Serve this file of the directory under a path if a page does not exist, as single-page applications "
        "need it. Can be repeated.",
    )
    static_cache: tuple[tuple[str, str], ...] = option(
        Group.APPLICATION,
        (),
        lifetimes,
        "How long clients may keep static files whose path fits a pattern. The first match wins. Can be "
        "repeated.",
    )
    access_log: str | None = option(
        Group.LOGGING, None, optional(output_file), "File of the access log. `-` is standard output."
    )
    access_log_format: str = option(
        Group.LOGGING,
        "combined",
        text,
        "Format of its lines: common, combined, json, or a text with atoms such as %(h)s.",
    )
    access_log_skip: tuple[str, ...] = option(
        Group.LOGGING,
        (),
        skipped_paths,
        "Write no line for requests of this path, or with a star at its end of all that begin like it. Can "
        "be repeated.",
    )
    pid_file: str | None = option(
        Group.PROCESS, None, optional(output_file), "File that holds the process id while the server runs."
    )
    chdir: str | None = option(
        Group.PROCESS, None, optional(directory), "Directory to change to before the target is loaded."
    )
    user: str | None = option(
        Group.PROCESS,
        None,
        optional(user_name),
        "User to run as, in the manager and every worker, once the sockets are open and the keys are read.",
        unset="the user that starts the server",
    )
    group: str | None = option(
        Group.PROCESS,
        None,
        optional(group_name),
        "Group to run with.",
        unset="the group of --user",
    )
    initgroups: bool = option(
        Group.PROCESS, False, boolean, "Run with all groups of --user, and not with one alone."
    )
    umask: int | None = option(
        Group.PROCESS,
        None,
        optional(permissions),
        "What is taken from the permissions of new files and of Unix sockets, as octal digits.",
        unset="as it is",
    )
    tls_reload_as_root: bool = option(
        Group.TLS,
        False,
        boolean,
        "Keep a small process that opens the files of TLS as root: it reads new certificates that --user may "
        "not read.",
    )
    chroot: str | None = option(
        Group.PROCESS,
        None,
        optional(directory),
        "Directory that is the root of every path, once the sockets are open and the target is loaded.",
    )
    reload: bool = option(
        Group.DEVELOPMENT,
        False,
        boolean,
        "Load the application again when one of its files changes, as `prefork reload` does. Needs the extra "
        "`dev`: pip install 'prefork[dev]'.",
    )
    reload_dir: tuple[str, ...] = option(
        Group.DEVELOPMENT,
        (),
        directories,
        "Directory whose files --reload watches, with those below it. Can be repeated. Without it, the "
        "current directory and that of the target.",
    )
    reload_include: tuple[str, ...] = option(
        Group.DEVELOPMENT,
        (),
        patterns,
        "Pattern of files to watch beside *.py: *.html, or templates/* for a path below the directory. Can "
        "be repeated.",
    )
    reload_exclude: tuple[str, ...] = option(
        Group.DEVELOPMENT,
        (),
        patterns,
        "Pattern of files and directories not to watch, beside virtual environments, caches and what begins "
        "with a dot. Can be repeated.",
    )

    def normalized(self) -> Self:
        roots = dict(self.static)
        if self.static_cache and not roots:
            raise OptionError("static_cache: there is no static directory")
        if self.chroot is not None and set(roots.values()) - {TO_APPLICATION}:
            raise OptionError(
                "chroot: static files are outside of it; let a proxy or the application serve them"
            )
        for prefix, file in self.static_fallback:
            root = roots.get(prefix, TO_APPLICATION)
            if root == TO_APPLICATION:
                raise OptionError(f"static_fallback: no static directory has the prefix {prefix or '/'}")
            if not os.path.isfile(os.path.join(root, file)):
                raise OptionError(f"static_fallback: there is no file {file} in {root}")
        return self._checked_reload()

    def _checked_reload(self) -> Self:
        for name in ("reload_dir", "reload_include", "reload_exclude"):
            if getattr(self, name) and not self.reload:
                raise OptionError(f"{name}: nothing is watched without reload")
        return self
