from __future__ import annotations

import pytest

from prefork.config import values
from prefork.config.values import Endpoint


@pytest.mark.parametrize(
    ("said", "where"),
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
def test_an_endpoint_is_read_and_read_again(said, where):
    assert values.endpoint(said) == where
    assert values.endpoint(where) == where


def test_a_relative_socket_path_is_that_of_the_directory_now(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert values.endpoint("unix:site.sock").address == str(tmp_path / "site.sock")


def test_other_relative_paths_are_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files").mkdir()
    assert values.directory("files") == str(tmp_path / "files")
    assert values.mounts("/static=files") == (("/static", str(tmp_path / "files")),)
    assert values.output("access.log") == str(tmp_path / "access.log")
    assert values.output("-") == "-"


@pytest.mark.parametrize("said", [("localhost:80", "[::1]:80"), ["localhost:80", "[::1]:80"]])
def test_several_endpoints_are_refused_with_all_of_them(said):
    with pytest.raises(values.Misfit, match=r"one address to listen on .* a second server") as caught:
        values.endpoint(said)
    assert caught.value.came == "localhost:80 and [::1]:80"


@pytest.mark.parametrize("said", ["a=., .=b", ("/a=.", "a=."), {"/a": ".", "a": "."}])
def test_of_several_mounts_the_wrong_one_is_told(said):
    with pytest.raises(values.Misfit, match="/prefix=directory, of a directory that exists") as caught:
        values.mounts(said)
    assert caught.value.came in ("'a=.'", "('a', '.')")


@pytest.mark.parametrize(
    "said",
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
def test_what_is_no_endpoint_is_refused(said):
    with pytest.raises(ValueError, match=r"a port from 0 to 65535|host:port"):
        values.endpoint(said)
