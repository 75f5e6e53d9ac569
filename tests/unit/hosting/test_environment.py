from __future__ import annotations

import os

import pytest

from prefork.errors import OptionError
from prefork.hosting.environment import refuse_sockets


@pytest.mark.parametrize("pid", ["", str(os.getpid())])
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
