"""Who may see the pages of the admin listener."""

from __future__ import annotations

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prefork.admin.access import Access, is_loopback, read_token
from prefork.errors import OptionError

TOKEN = b"a-secret"


def asks(
    *,
    host: str | None = "localhost",
    local_ip: str | None = "127.0.0.1",
    over: bytes | None = b"\x7f\0\0\1",
    method: str = "GET",
    authorization: str | None = None,
    path: str = "/metrics",
) -> Any:
    """A request, as far as access is about it."""
    fields = {"host": host, "authorization": authorization}
    basic = None
    if authorization is not None and authorization.lower().startswith("basic "):
        basic = tuple(base64.b64decode(authorization[6:]).decode().split(":", 1))
    return SimpleNamespace(
        method=method,
        path=path,
        header=lambda name, default=None: fields[name] if fields[name] is not None else default,
        authorization_basic=basic,
        connection=SimpleNamespace(local_ip=local_ip, remote_addr=over),
    )


def status(access: Access, **what: Any) -> int:
    refusal = access.refuse(asks(**what))
    return 200 if refusal is None else refusal.status


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:9900",
        "LOCALHOST",
        "127.0.0.1",
        "127.0.0.1:9900",
        "127.8.9.1",
        "[::1]:9900",
        "ops",
        None,
    ],
)
def test_names_of_this_machine_are_served(host: str | None) -> None:
    assert status(Access(None, ["Ops"]), host=host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9900",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "",
        "localhost:9900:1",
        "[::1",
        "[::2]",
        "::1",
        "localhost@evil.example",
        "localhost:",
        "0.0.0.0",
    ],
)
def test_other_names_are_those_of_a_page_that_a_browser_was_led_from(host: str) -> None:
    assert status(Access(None), host=host) == 403
    assert status(Access(TOKEN), host=host, authorization="Bearer a-secret") == 403


def test_an_address_for_other_machines_has_many_names() -> None:
    what = {"host": "node-1.example", "local_ip": "10.0.0.1"}
    assert status(Access(TOKEN), **what) == 401
    assert status(Access(TOKEN), **what, authorization="Bearer a-secret") == 200


def test_of_a_client_that_has_left_no_address_is_known_and_the_name_is_checked() -> None:
    assert status(Access(None), host="evil.example", local_ip=None) == 403


@pytest.mark.parametrize(
    "given", ["Bearer a-secret", "bearer  a-secret", "Basic " + base64.b64encode(b"me:a-secret").decode()]
)
def test_the_token(given: str) -> None:
    assert status(Access(TOKEN), authorization=given) == 200


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer a-secre",
        "Bearer a-secret1",
        "Bearer A-SECRET",
        "a-secret",
        "Digest a-secret",
        "Bearer \udcff",
        "Basic " + base64.b64encode(b"a-secret:me").decode(),
    ],
)
def test_another_token(given: str | None) -> None:
    refusal = Access(TOKEN).refuse(asks(authorization=given))
    assert refusal is not None
    assert refusal.status == 401
    assert "a-secret" not in refusal.text
    assert dict(refusal.fields)["WWW-Authenticate"].startswith("Bearer")


def test_pages_for_probes_need_no_token() -> None:
    for path in ("/healthz", "/readyz"):
        assert status(Access(TOKEN), path=path) == 200
        assert status(Access(TOKEN), path=path, method="POST") == 405
        assert status(Access(TOKEN), path=path, host="evil.example") == 403
    for path in ("/healthz/", "/healthz.json", "//healthz", "/status.json", "/", "/x/healthz"):
        assert status(Access(TOKEN), path=path) == 401


def test_over_a_unix_socket_the_file_decides() -> None:
    assert status(Access(TOKEN), over=None, host="anything", local_ip="unix") == 200
    assert status(Access(TOKEN), over=None, method="POST") == 405


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "get"])
def test_nothing_is_changed(method: str) -> None:
    assert status(Access(None), method=method) == 405
    assert status(Access(TOKEN), method=method) == 401


def test_head_is_served() -> None:
    assert status(Access(None), method="HEAD") == 200


@pytest.mark.parametrize("address", ["127.0.0.1", "127.255.0.9", "::1", None])
def test_loopback(address: str | None) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.1", "fe80::1%eth0", "", "localhost", "1"])
def test_no_loopback(address: str) -> None:
    assert not is_loopback(address)


def test_a_file_of_a_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(b"\n a-secret \n")
    file.chmod(0o600)
    assert read_token(str(file)) == (TOKEN, False)
    file.chmod(0o644)
    assert read_token(str(file)) == (TOKEN, True)


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"caf\xc3\xa9", b"x" * 4097, b"a\nb"])
def test_a_file_of_no_token(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(OptionError, match="expected one token"):
        read_token(str(file))
    with pytest.raises(OptionError, match="cannot be read: No such file"):
        read_token(str(tmp_path / "none"))
