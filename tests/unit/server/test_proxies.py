"""Which proxies a server trusts if its options do not say it."""

from __future__ import annotations

import pytest

from prefork.config.checked import check
from prefork.config.options import ServerOptions
from prefork.config.values import LOCAL_PROXIES, TrustedProxies
from prefork.errors import OptionError
from prefork.server.proxies import trusted_proxies

VARIABLE = {"FORWARDED_ALLOW_IPS": "10.0.0.0/8, ::1"}


def test_the_variable_names_them_for_address_and_scheme() -> None:
    options = check(ServerOptions, {})
    assert trusted_proxies(options, VARIABLE) == TrustedProxies(
        ("10.0.0.0/8", "::1/128", "unix"), with_all=False
    )
    assert trusted_proxies(options, {}) == LOCAL_PROXIES
    assert trusted_proxies(options, {"FORWARDED_ALLOW_IPS": ""}) == LOCAL_PROXIES


def test_the_option_comes_first() -> None:
    for given in ("192.0.2.1", "", "127.0.0.0/8,::1,unix"):
        options = check(ServerOptions, {"trusted_proxies": given})
        assert trusted_proxies(options, VARIABLE) is options.trusted_proxies
        assert options.trusted_proxies.with_all


def test_what_is_no_network_is_named_with_the_variable() -> None:
    options = check(ServerOptions, {})
    with pytest.raises(OptionError, match=r"^FORWARDED_ALLOW_IPS: expected networks such as .* got 'host'$"):
        trusted_proxies(options, {"FORWARDED_ALLOW_IPS": "10.0.0.1,host"})
