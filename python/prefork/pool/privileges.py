"""The user, the groups and the root directory with which a server goes on once it has its sockets and keys.

Always: privileges are given up for good, in the manager before it forks a worker, so no process of the server
keeps any. What cannot be given up ends the start: a server never runs with more than was asked for.

It must know no server and no sockets.
"""

from __future__ import annotations

import contextlib
import grp
import logging
import os
import pwd
import re
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, NamedTuple

from prefork.errors import OptionError

if TYPE_CHECKING:
    from prefork.config.options import ServeOptions

logger = logging.getLogger("prefork.pool")


class Privileges(NamedTuple):
    """What a server goes on with. None is what it was started with."""

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()
    """The supplementary groups, if `gid` is set."""
    root: str | None = None

    def give_up(self) -> None:
        """Changes this process for good. Raises OptionError if the system refuses or something remains."""
        with open("/proc/self/status") if self.uid else contextlib.nullcontext() as status:
            self._change()
            self._check(status)

    def out_of_reach(self, directories: Sequence[str]) -> str:
        """The first of these directories that is there, and that a process with these privileges cannot read;
        empty if there is none, or if that is not found out. Raises OSError.
        """
        there = [one for one in directories if os.path.isdir(one)]
        pid = os.fork()
        if pid == 0:
            hidden = 0
            try:
                self._change()
                readable = [os.access(one, os.R_OK | os.X_OK) for one in there]
                hidden = min(readable.index(False) + 1, 255) if not all(readable) else 0
            finally:
                os._exit(hidden)
        _, status = os.waitpid(pid, 0)
        hidden = max(os.waitstatus_to_exitcode(status), 0)
        return there[hidden - 1] if hidden else ""

    def _change(self) -> None:
        if self.root is not None:
            with _explained(f"cannot change the root directory to {self.root}"):
                os.chroot(self.root)
                os.chdir("/")
        if self.gid is not None and not self._runs_as_asked():
            with _explained(f"cannot run with group {_group(self.gid)}"):
                os.setgroups(self.groups)
                os.setresgid(self.gid, self.gid, self.gid)
        if self.uid is not None:
            with _explained(f"cannot run as user {_user(self.uid)}"):
                os.setresuid(self.uid, self.uid, self.uid)

    def _runs_as_asked(self) -> bool:
        """Whether it was started as the user that it is to run as, and so cannot change anything."""
        gid = self.gid
        return os.getresuid() == (self.uid,) * 3 and os.getresgid() == (gid,) * 3 and os.geteuid() != 0

    def _check(self, status: IO[str] | None) -> None:
        changed = (self.uid is None or os.getresuid() == (self.uid,) * 3) and (
            self.gid is None or os.getresgid() == (self.gid,) * 3
        )
        if not changed:
            raise OptionError("the system has not changed the user or the group of this process")
        if status is None:
            return
        kept = re.findall(r"^Cap(?:Prm|Eff|Amb):\s*([0-9a-f]+)$", status.read(), re.MULTILINE)
        if any(int(found, 16) for found in kept):
            raise OptionError(
                f"as user {_user(self.uid or 0)} this process would keep capabilities; start it as root "
                "without securebits, or as that user without --user"
            )


def asked_for(options: ServeOptions) -> Privileges | None:
    """What the options ask for; None if that is nothing. Raises OptionError."""
    user, group = options.user, options.group
    if options.initgroups and user is None:
        raise OptionError("initgroups takes the groups of a user; say which one with --user")
    if (user, group, options.chroot) == (None, None, None):
        return None
    uid = gid = None
    name = None
    if user is not None:
        found = _account(user)
        uid = int(user) if found is None else found.pw_uid
        gid, name = (None, None) if found is None else (found.pw_gid, found.pw_name)
    if group is not None:
        gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    if gid is None and uid is not None:
        raise OptionError(f"user {user} has no name here, and so no group; say which one with --group")
    if options.initgroups and name is None:
        raise OptionError(f"user {user} has no name here, and so no groups for --initgroups")
    groups: tuple[int, ...] = ()
    if gid is not None:
        groups = tuple(os.getgrouplist(name, gid)) if options.initgroups and name is not None else (gid,)
    if options.chroot is not None and not uid:
        logger.warning("chroot does not hold root in: use --user as well")
    return Privileges(uid, gid, groups, options.chroot)


def _account(user: str) -> pwd.struct_passwd | None:
    """The entry of a user, by name or id; None for an id without a name."""
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    return None


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise OptionError(f"{what}: {error.strerror}; only root can change it") from None
    except OSError as error:
        raise OptionError(f"{what}: {error.strerror}") from None


def _user(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def _group(gid: int) -> str:
    with contextlib.suppress(KeyError):
        return grp.getgrgid(gid).gr_name
    return str(gid)
