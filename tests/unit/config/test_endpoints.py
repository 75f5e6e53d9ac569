"""The addresses of `--bind`, and the settings of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefork import HTTPServer, Kernel
from prefork.config.checked import check
from prefork.config.endpoints import SETTINGS, Endpoint, Kind, endpoints
from prefork.config.options import ServerOptions
from prefork.errors import OptionError


def tcp(address: str | None, port: int, **settings: object) -> Endpoint:
    return Endpoint(kind=Kind.TCP, address=address, port=port, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ("127.0.0.1:8080", tcp("127.0.0.1", 8080)),
        ("localhost:0", tcp("localhost", 0)),
        ("[::1]:80", tcp("::1", 80)),
        ("[fe80::1%eth0.100]:80", tcp("fe80::1%eth0.100", 80)),
        ("[fe80::1%br-a1]:80", tcp("fe80::1%br-a1", 80)),
        ("8080", tcp(None, 8080)),
        (":8080", tcp(None, 8080)),
        (8080, tcp(None, 8080)),
        ("unix:/run/site.sock", Endpoint(kind=Kind.UNIX, address="/run/site.sock")),
        ("unix:@site", Endpoint(kind=Kind.ABSTRACT, address="site")),
        ("fd://3", Endpoint(kind=Kind.DESCRIPTOR, descriptor=3)),
        ("fd:3", Endpoint(kind=Kind.DESCRIPTOR, descriptor=3)),
        ("systemd:web", Endpoint(kind=Kind.SYSTEMD, address="web")),
        ("systemd:", Endpoint(kind=Kind.SYSTEMD)),
        ("0.0.0.0:443,tls", tcp("0.0.0.0", 443, tls=True)),
        (":443,tls=off,backlog=5,reuse-port", tcp(None, 443, backlog=5, reuse_port=True)),
        ("8080,proxy", tcp(None, 8080, proxy=True)),
        ("8080,proxy=off", tcp(None, 8080, proxy=False)),
        ("fd://3,tls", Endpoint(kind=Kind.DESCRIPTOR, descriptor=3, tls=True)),
        (
            "unix:/x,mode=660,owner=root,group=0",
            Endpoint(kind=Kind.UNIX, address="/x", mode=0o660, user="root", group="0"),
        ),
        ("unix:/x,umask=007", Endpoint(kind=Kind.UNIX, address="/x", umask=7)),
        ({"address": "unix:/a,b", "mode": 0o600}, Endpoint(kind=Kind.UNIX, address="/a,b", mode=0o600)),
        ({"address": 80, "tls": True}, tcp(None, 80, tls=True)),
    ],
)
def test_an_address_is_read_and_read_again(given: object, where: Endpoint) -> None:
    assert endpoints(given) == (where,)
    assert endpoints(where) == (where,)


def test_several_come_as_a_list_and_in_a_text_with_spaces() -> None:
    expected = (tcp("::1", 80), tcp(None, 81))
    assert endpoints(["[::1]:80", 81]) == expected
    assert endpoints(" [::1]:80  81 ") == expected
    assert endpoints(expected) == expected
    assert endpoints(None) == ()


def test_an_item_of_a_list_may_have_spaces() -> None:
    (found,) = endpoints(["unix:/my files/site.sock"])
    assert found.address == "/my files/site.sock"


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (found,) = endpoints("unix:site.sock")
    assert found.address == str(tmp_path / "site.sock")


@pytest.mark.parametrize(
    "given",
    ["", "localhost", "127.0.0.1", "::1:80", "[::1]", "host:port", "host:70000", "unix:", "[]:80", "fd://x"],
)
def test_what_is_no_address_is_an_error(given: str) -> None:
    with pytest.raises(ValueError, match=r"a port from 0 to 65535|host:port"):
        endpoints(given)


@pytest.mark.parametrize(
    ("given", "expected", "got"),
    [
        ("a b:80", "host:port", "'a'"),
        (True, "host:port", "True"),
        ([None], "host:port", "None"),
        ("unix:@", "a name after unix:@", "'unix:@'"),
        (":80,tsl", "a setting of :80 (tls, proxy, backlog", "'tsl'"),
        (":80,", "a setting of :80", "''"),
        (":80,backlog", "a whole number from 1 to 65535 as backlog of :80", "''"),
        (":80,backlog=0", "a whole number from 1 to 65535 as backlog", "'0'"),
        (":80,tls=maybe", "true or false as tls of :80", "'maybe'"),
        (":80,mode=600", "mode with a Unix socket with a path", "mode with :80"),
        ("unix:@x,group=root", "group with a Unix socket with a path", "group with unix:@x"),
        ("fd://3,backlog=5", "backlog with a TCP port or a Unix socket", "backlog with fd://3"),
        ("unix:/x,mode=888", "octal permissions", "'888'"),
        ("unix:/x,mode=1777", "octal permissions", "'1777'"),
        ({"address": "unix:/x", "mode": 660}, "octal permissions", "660"),
        ("unix:/x,mode=600,umask=0", "mode or umask for unix:/x", "both"),
        ("unix:/x,user=root,owner=root", "owner once for unix:/x", "two values"),
        ("unix:/x,user=no-such-user", "the name or the id of a user", "'no-such-user'"),
        ("unix:/x,group=no-such-group", "the name or the id of a group", "'no-such-group'"),
        ({"mode": "600"}, "a table with address", "{'mode': '600'}"),
        (["[::1]:80", "[::1]:80,tls"], "each address once", "[::1]:80 twice"),
    ],
)
def test_a_wrong_use_is_one_line(given: object, expected: str, got: str) -> None:
    with pytest.raises(OptionError) as caught:
        check(ServerOptions, {"listeners": given})
    text = str(caught.value)
    assert text.startswith("option listeners: expected ")
    assert expected in text
    assert text.endswith(f"got {got}")
    assert "\n" not in text


def test_port_0_may_come_twice() -> None:
    assert len(endpoints(["127.0.0.1:0", "127.0.0.1:0"])) == 2


def test_each_setting_is_a_field() -> None:
    fields = set(Endpoint.__dataclass_fields__)
    assert {setting.field for setting in SETTINGS.values()} <= fields


def test_an_address_is_shown_as_it_is_given() -> None:
    for text in (":80", "[::1]:80", "unix:/x", "unix:@x", "fd://3", "systemd:web", "systemd:"):
        assert [str(one) for one in endpoints(text)] == [text]


def test_listeners_and_an_address_in_code_are_one_too_many() -> None:
    with pytest.raises(OptionError, match="use one of them"):
        HTTPServer(Kernel(), listeners=["127.0.0.1:0"], port=80)


def test_an_address_in_code_is_no_descriptor() -> None:
    with pytest.raises(OptionError, match="a passed socket is one of `listeners`, got fd://3"):
        HTTPServer(Kernel(), address="fd://3")
