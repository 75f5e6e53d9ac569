"""Which proxies a server trusts if its options do not say it: those of the environment, or local ones."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prefork.config.checked import options_of
from prefork.config.options import ServerOptions
from prefork.config.values import LOCAL_PROXIES, TrustedProxies

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "FORWARDED_ALLOW_IPS"
"""Of gunicorn and uvicorn, which take address and scheme only. Empty, it is unset.

Peers over a Unix socket are trusted with it as well, as in gunicorn: it lists addresses, and they have none.
"""


def trusted_proxies(options: ServerOptions, environment: Mapping[str, str] = os.environ) -> TrustedProxies:
    """Raises OptionError if the variable has something else than networks."""
    networks = environment.get(VARIABLE)
    if options.trusted_proxies != LOCAL_PROXIES or not networks:
        return options.trusted_proxies
    found = options_of(ServerOptions)["trusted_proxies"].read(networks, VARIABLE)
    assert isinstance(found, TrustedProxies)
    return TrustedProxies((*found.networks, "unix"), with_all=False)
