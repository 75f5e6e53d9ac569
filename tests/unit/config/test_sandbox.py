from __future__ import annotations

import os
from typing import Any

import pytest

from prefork.config.checked import check
from prefork.config.options import PreForkOptions
from prefork.errors import OptionError


def read(**values: Any) -> PreForkOptions:
    return check(PreForkOptions, {"sandbox": "on"} | values)


@pytest.mark.parametrize(
    "given", ["data,/var/lib/shop", ["data", "/var/lib/shop"], (" data", "/var/lib/shop ")]
)
def test_paths_are_absolute_whatever_the_directory_is_later(given: Any) -> None:
    assert read(sandbox_write=given).sandbox_write == (os.path.abspath("data"), "/var/lib/shop")


@pytest.mark.parametrize("given", ["", [""], [3], 3])
def test_what_is_no_path_is_refused(given: Any) -> None:
    with pytest.raises(OptionError, match="expected a file or a directory, or several"):
        read(sandbox_write=given)


@pytest.mark.parametrize(
    ("given", "ports"),
    [(5432, ("5432",)), ("5432, 6379", ("5432", "6379")), ([80, "443"], ("80", "443")), ("Any", ("any",))],
)
def test_ports_are_numbers_or_any(given: Any, ports: tuple[str, ...]) -> None:
    options = read(sandbox_connect=given)
    assert options.sandbox_connect == ports
    assert read(sandbox_connect=options.sandbox_connect).sandbox_connect == ports


@pytest.mark.parametrize("given", [0, 65536, "http", "", None, -1, True])
def test_what_is_no_port_is_refused(given: Any) -> None:
    with pytest.raises(OptionError, match="expected a port from 1 to 65535, or 'any'"):
        read(sandbox_connect=given)


def test_what_would_restrict_no_worker_is_refused() -> None:
    for named in ({"sandbox_write": "/tmp"}, {"sandbox_connect": 80}):
        with pytest.raises(OptionError, match="need sandbox"):
            read(sandbox="off", **named)
    with pytest.raises(OptionError, match="there are none"):
        read(start_servers=0)
    assert read(sandbox="required", start_servers=1).sandbox == "required"
