"""The options of TLS, alone and together."""

from __future__ import annotations

import os
from typing import Any

import pytest

from prefork.config.checked import check
from prefork.config.options import PreForkOptions, ServerOptions
from prefork.errors import OptionError

CERT = {"tls_cert": "a.pem"}


def read(**options: Any) -> ServerOptions:
    return check(ServerOptions, options)


def error(**options: Any) -> str:
    with pytest.raises(OptionError) as raised:
        check(PreForkOptions, options)
    return str(raised.value)


def test_files_are_those_of_the_directory_of_the_start() -> None:
    here = os.getcwd()
    assert read(tls_cert="a.pem", tls_key="k/a.key").certificates == ((f"{here}/a.pem", f"{here}/k/a.key"),)
    assert read(tls_cert="/x/a.pem").certificates == (("/x/a.pem", "/x/a.pem"),)


@pytest.mark.parametrize("given", ["/a,/b", ["/a", "/b"], ("/a", "/b"), "/a, /b"])
def test_several_files(given: object) -> None:
    assert read(tls_cert=given, tls_key=["/c", "/d"]).certificates == (("/a", "/c"), ("/b", "/d"))


def test_the_names_of_simplehttp() -> None:
    options = read(ssl_key_cert=("/key", "/cert"), ssl_intermediate_ca_cert="/chain")
    assert options.certificates == (("/cert", "/key"),)
    assert read().certificates == ()


@pytest.mark.parametrize("name", ["tls_key", "tls_key_password_file", "tls_ciphers", "tls_client_ca"])
def test_an_option_that_needs_a_certificate(name: str) -> None:
    assert error(**{name: "x"}) == f"{name}: there is no certificate (tls_cert)"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"redirect_http": 80}, "redirect_http: there is no certificate (tls_cert)"),
        ({"tls_min_version": "1.3"}, "tls_min_version: there is no certificate (tls_cert)"),
        (
            CERT | {"redirect_http": "[::1]:80,tls"},
            "redirect_http: [::1]:80 is for clients without TLS, and cannot speak it",
        ),
        (CERT | {"tls_key": "/a,/b"}, "tls_key: expected one for each tls_cert, got 2 for 1"),
        (CERT | {"ssl_key_cert": ("/a", "/b")}, "ssl_key_cert and tls_cert are two names for one thing"),
        (CERT | {"acme_dir": "/"}, "acme_dir: there is no redirect_http"),
        (CERT | {"tls_client_crl": "/a"}, "tls_client_crl: there is no tls_client_ca"),
        (CERT | {"tls_client_auth": "optional"}, "tls_client_auth: optional needs tls_client_ca"),
        ({"ssl_intermediate_ca_cert": "/a"}, "ssl_intermediate_ca_cert: there is no ssl_key_cert"),
        (CERT | {"tls_min_version": "1.1"}, "expected '1.2' or '1.3', got '1.1'"),
        (CERT | {"tls_alpn": "h3"}, "expected h2 and http/1.1, or one of them, got 'h3'"),
        (CERT | {"tls_ciphers": "a;b"}, "expected names of ciphers, like "),
        ({"tls_cert": ""}, "expected the name of a file, or several, got ''"),
        ({"ssl_key_cert": "/a"}, "expected a pair of files: the key, and the certificate, got '/a'"),
    ],
)
def test_what_does_not_fit_together(options: dict[str, Any], text: str) -> None:
    assert text in error(**options)


def test_clients_need_a_certificate_if_there_is_an_authority() -> None:
    assert read(**CERT).client_auth == "none"
    assert read(**CERT, tls_client_ca="/ca").client_auth == "required"
    assert read(**CERT, tls_client_ca="/ca", tls_client_auth="optional").client_auth == "optional"


def test_lists_of_names() -> None:
    ciphers = ("TLS_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256")
    for given in (":".join(ciphers), ", ".join(ciphers), list(ciphers), (":".join(ciphers),)):
        assert read(**CERT, tls_ciphers=given).tls_ciphers == ciphers
    assert read(**CERT, tls_alpn="http/1.1").tls_alpn == ("http/1.1",)
    assert read(**CERT, tls_min_version=1.3).tls_min_version == "1.3"
