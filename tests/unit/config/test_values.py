from __future__ import annotations

import pytest

from prefork.config import values
from prefork.config.values import Endpoint


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ("127.0.0.1:8080", Endpoint("127.0.0.1", 8080)),
        ("localhost:0", Endpoint("localhost", 0)),
        ("[::1]:80", Endpoint("::1", 80)),
        ("[fe80::1%eth0]:80", Endpoint("fe80::1%eth0", 80)),
        ("8080", Endpoint(None, 8080)),
        (":8080", Endpoint(None, 8080)),
        (8080, Endpoint(None, 8080)),
        ("unix:/run/site.sock", Endpoint("/run/site.sock", None)),
    ],
)
def test_an_endpoint_is_read_and_read_again(given, where):
    assert values.endpoint(given) == where
    assert values.endpoint(where) == where


def test_a_relative_socket_path_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert values.endpoint("unix:site.sock").address == str(tmp_path / "site.sock")


def test_other_relative_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files").mkdir()
    assert values.directory("files") == str(tmp_path / "files")
    assert values.output_file("access.log") == str(tmp_path / "access.log")
    assert values.output_file("-") == "-"


def test_a_path_prefix_is_text_that_begins_with_a_slash():
    assert values.path_prefix("/café/") == "/café"
    for given in ("shop", "/caf\udce9"):  # the second: a byte that is not UTF-8, as Python has it
        with pytest.raises(ValueError, match="a path in UTF-8 that begins with a slash"):
            values.path_prefix(given)


@pytest.mark.parametrize("given", [("localhost:80", "[::1]:80"), ["localhost:80", "[::1]:80"]])
def test_several_endpoints_are_an_error_that_shows_all(given):
    with pytest.raises(values.Rejected, match=r"one address to listen on .* a second server") as caught:
        values.endpoint(given)
    assert caught.value.got == "localhost:80 and [::1]:80"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "localhost",
        "127.0.0.1",
        "::1:80",
        "[::1]",
        "host:port",
        "host:70000",
        "unix:",
        "a b:80",
        None,
        "[]:80",
    ],
)
def test_an_invalid_endpoint_is_an_error(given):
    with pytest.raises(ValueError, match=r"a port from 0 to 65535|host:port"):
        values.endpoint(given)
