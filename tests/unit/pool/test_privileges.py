"""What a server gives up, and what it refuses to go on with."""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from prefork.config.checked import check
from prefork.config.options import ServeOptions
from prefork.errors import OptionError
from prefork.pool.privileges import Privileges, asked_for

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give privileges up")
UID = GID = 12345


def found(**options: object) -> Privileges | None:
    return asked_for(check(ServeOptions, options))


def in_child(function: Callable[[], object]) -> str:
    """The text of the OptionError that `function` raises in a process of its own; empty if it raises none."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except OptionError as error:
            os.write(writing, str(error).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        text = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return text


def test_nothing_is_asked_for_by_default() -> None:
    assert found() is None
    assert found(umask="027") is None


def test_a_user_has_its_own_group_unless_one_is_said() -> None:
    entry = pwd.getpwnam("daemon")
    assert found(user="daemon") == (entry.pw_uid, entry.pw_gid, (entry.pw_gid,), None)
    assert found(user=str(entry.pw_uid)) == found(user="daemon")
    group = grp.getgrgid(0).gr_name
    assert found(user="daemon", group=group) == (entry.pw_uid, 0, (0,), None)
    assert found(group=4711) == (None, 4711, (4711,), None)


def test_initgroups_takes_all_groups_of_the_user() -> None:
    asked = found(user="daemon", initgroups=True)
    assert asked is not None
    assert sorted(asked.groups) == sorted(os.getgrouplist("daemon", pwd.getpwnam("daemon").pw_gid))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"initgroups": True}, "initgroups takes the groups of a user; say which one with --user"),
        ({"user": UID}, "user 12345 has no name here, and so no group; say which one with --group"),
        (
            {"user": UID, "group": 1, "initgroups": True},
            "has no name here, and so no groups for --init",
        ),
        ({"user": "no-such-user"}, "option user: expected the name or the id of a user of this machine"),
        ({"group": "no-such-group"}, "option group: expected the name or the id of a group of this"),
        ({"umask": "9"}, "option umask: expected octal permissions from 000 to 777"),
        ({"chroot": "/no/such"}, "option chroot: expected an existing directory"),
    ],
)
def test_a_wrong_use_is_one_line(options: dict[str, object], why: str) -> None:
    with pytest.raises(OptionError, match=why):
        found(**options)


def test_root_in_a_chroot_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert found(chroot=tmp_path) == (None, None, (), str(tmp_path))
    assert "chroot does not hold root in: use --user as well" in caplog.text
    caplog.clear()
    found(chroot=tmp_path, user="daemon")
    assert caplog.text == ""


def is_refused(way: Callable[[], object]) -> bool:
    try:
        way()
    except PermissionError:
        return True
    return False


@ROOT
def test_all_of_it_is_given_up_for_good(tmp_path: Path) -> None:
    (tmp_path / "inside").touch()
    tmp_path.chmod(0o755)

    def give_up() -> None:
        Privileges(UID, GID, (GID, 7), str(tmp_path)).give_up()
        assert os.getresuid() == (UID,) * 3
        assert os.getresgid() == (GID,) * 3
        assert sorted(os.getgroups()) == [7, GID]
        assert os.listdir("/") == ["inside"]
        assert os.getcwd() == "/"
        ways: list[Callable[[], object]] = [
            lambda: os.setuid(0),
            lambda: os.seteuid(0),
            lambda: os.setgid(0),
            lambda: os.chroot("/"),
        ]
        assert [is_refused(way) for way in ways] == [True] * len(ways)

    assert in_child(give_up) == ""


@ROOT
def test_a_group_alone_leaves_the_user() -> None:
    def give_up() -> None:
        Privileges(gid=GID, groups=(GID,)).give_up()
        assert (os.getresuid(), os.getresgid(), os.getgroups()) == ((0,) * 3, (GID,) * 3, [GID])

    assert in_child(give_up) == ""


def as_user(then: Privileges) -> str:
    def begin() -> None:
        os.setgroups([])
        os.setresgid(GID, GID, GID)
        os.setresuid(UID, UID, UID)
        then.give_up()

    return in_child(begin)


@ROOT
@pytest.mark.parametrize(
    ("then", "why"),
    [
        (Privileges(UID, GID, (GID,)), ""),
        (
            Privileges(UID, 1, (1,)),
            "cannot run with group daemon: Operation not permitted; only root can change it",
        ),
        (Privileges(1), "cannot run as user daemon: Operation not permitted; only root can change it"),
        (
            Privileges(root="/tmp"),
            "cannot change the root directory to /tmp: Operation not permitted; only root can change it",
        ),
    ],
    ids=["what it is", "group", "user", "root"],
)
def test_another_user_can_ask_for_what_it_is_and_nothing_else(then: Privileges, why: str) -> None:
    assert as_user(then) == why


@ROOT
def test_a_process_that_would_keep_capabilities_ends() -> None:
    """With SECBIT_NO_SETUID_FIXUP (prctl(2), capabilities(7)) a change of the user leaves them."""

    def give_up() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.prctl(28, 1 << 2, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())
        Privileges(UID, GID, (GID,)).give_up()

    assert "as user 12345 this process would keep capabilities" in in_child(give_up)
