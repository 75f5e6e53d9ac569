from __future__ import annotations

import os

import pytest

from prefork import HTTPServer, Kernel
from prefork.errors import OptionError
from prefork.server.environment import refuse_sockets


@pytest.mark.parametrize("pid", ["", str(os.getpid())], ids=["any process", "this process"])
def test_sockets_of_a_service_manager_are_refused(monkeypatch, pid):
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", pid)
    with pytest.raises(OptionError, match="LISTEN_FDS=1: sockets of a service manager are not served yet"):
        refuse_sockets()


@pytest.mark.parametrize(("number", "pid"), [("0", ""), ("", ""), ("1", "1")])
def test_those_of_another_process_are_none(monkeypatch, number, pid):
    monkeypatch.setenv("LISTEN_FDS", number)
    monkeypatch.setenv("LISTEN_PID", pid)
    refuse_sockets()


def test_no_server_listens_beside_them(monkeypatch, capsys):
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.delenv("LISTEN_PID", raising=False)
    kernel = Kernel()
    HTTPServer(kernel, address="127.0.0.1", port=0)
    with pytest.raises(SystemExit) as ended:
        kernel.run()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("prefork: LISTEN_FDS=1: sockets of a service manager")


def test_a_descriptor_is_no_address():
    with pytest.raises(OptionError, match="sockets of a parent process are not served yet, got fd://3"):
        HTTPServer(Kernel(), address="fd://3")
