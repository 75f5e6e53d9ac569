"""Sockets that a service manager passes, as sd_listen_fds(3) has them."""

from __future__ import annotations

import os

import pytest

from prefork import HTTPServer, Kernel
from prefork.config.endpoints import endpoints
from prefork.errors import OptionError
from prefork.server.environment import passed_as, passed_sockets, refuse_unserved


@pytest.fixture(params=["", str(os.getpid())], ids=["any process", "this process"])
def two_passed(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setenv("LISTEN_FDS", "2")
    monkeypatch.setenv("LISTEN_PID", request.param)
    monkeypatch.setenv("LISTEN_FDNAMES", "web:admin")


@pytest.mark.usefixtures("two_passed")
def test_each_socket_has_a_number_and_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert passed_sockets() == [(3, "web"), (4, "admin")]
    monkeypatch.setenv("LISTEN_FDNAMES", "web")
    assert passed_sockets() == [(3, "web"), (4, "unknown")]
    monkeypatch.setenv("LISTEN_FDNAMES", "web:web")
    assert passed_as("web") == [3, 4]
    assert passed_as(None) == [3, 4]
    with pytest.raises(OptionError, match=r"systemd:admin: the sockets .* have other names \(web\)"):
        passed_as("admin")


@pytest.mark.parametrize(("number", "pid"), [("0", ""), ("", ""), ("1", "1")])
def test_those_of_another_process_are_none(monkeypatch: pytest.MonkeyPatch, number: str, pid: str) -> None:
    monkeypatch.setenv("LISTEN_FDS", number)
    monkeypatch.setenv("LISTEN_PID", pid)
    assert passed_sockets() == []
    refuse_unserved(endpoints("80"))
    with pytest.raises(OptionError, match="systemd:web: no sockets were passed"):
        passed_as("web")


@pytest.mark.parametrize("number", ["-1", "two", "1000000"])
def test_a_number_that_makes_no_sense_is_one_line(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    monkeypatch.setenv("LISTEN_FDS", number)
    monkeypatch.delenv("LISTEN_PID", raising=False)
    with pytest.raises(OptionError, match=f"LISTEN_FDS={number}: expected the number of"):
        passed_sockets()


@pytest.mark.usefixtures("two_passed")
@pytest.mark.parametrize("served", ["systemd:", "systemd:web", "fd://3", "80 fd://4"])
def test_not_every_socket_has_to_be_served(served: str) -> None:
    refuse_unserved(endpoints(served))


@pytest.mark.usefixtures("two_passed")
@pytest.mark.parametrize("served", ["80", "unix:/x 80", "fd://5"])
def test_a_server_that_listens_on_others_alone_is_refused(served: str) -> None:
    with pytest.raises(OptionError, match="LISTEN_FDS=2: sockets were passed, and the server listens on oth"):
        refuse_unserved(endpoints(served))


def test_no_server_listens_beside_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.delenv("LISTEN_PID", raising=False)
    kernel = Kernel()
    HTTPServer(kernel, address="127.0.0.1", port=0)
    with pytest.raises(SystemExit) as ended:
        kernel.run()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("prefork: LISTEN_FDS=1: sockets were passed, and the server")
