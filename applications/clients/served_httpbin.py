"""A plugin of pytest: the fixtures of pytest-httpbin, for an httpbin that is served already.

The tests of requests want them. Those of TLS are left out.
"""

from __future__ import annotations

import os
from urllib.parse import urljoin

import pytest


class Served:
    """An httpbin: its address, which is given a path by calling it or by `+`."""

    def __init__(self, url):
        self.url = url
        self.host, _, port = url.partition("://")[2].partition(":")
        self.port = int(port)

    def __add__(self, path):
        return self.url + path

    def join(self, path):
        return urljoin(self.url, path)


@pytest.fixture
def httpbin():
    return Served(os.environ["SERVED_HTTPBIN"])


@pytest.fixture
def httpbin_secure():
    pytest.skip("this httpbin is served without TLS")
