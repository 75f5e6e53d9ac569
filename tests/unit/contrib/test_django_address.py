"""Where `manage.py serve` listens: as `runserver` reads it, as --bind says it."""

from __future__ import annotations

import pytest
from django.core.management.base import CommandError

from prefork.config.endpoints import endpoints
from prefork.contrib.django.management.commands.serve import address


@pytest.mark.parametrize(
    ("given", "bind"),
    [
        ("8000", "127.0.0.1:8000"),
        ("0", "127.0.0.1:0"),
        ("0:8000", "0.0.0.0:8000"),
        ("0.0.0.0:8000", "0.0.0.0:8000"),
        ("localhost:8000", "localhost:8000"),
        ("[::1]:8000", "[::1]:8000"),
    ],
)
def test_an_address_is_that_of_runserver(given: str, bind: str) -> None:
    assert address(given) == bind
    assert len(endpoints(bind)) == 1


@pytest.mark.parametrize(
    "given", ["", "x", "8000x", "::1:8000", "[::1]", "127.0.0.1:", "unix:/run/shop", "a b:1"]
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(CommandError, match="is not a valid port number or address:port pair"):
        address(given)
