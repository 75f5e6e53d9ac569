"""Every option of SimpleHTTP's constructor, as a client and an application see it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from support.apps import APPS
from support.responses import only, read_all
from support.server import Serve
from support.waiting import DEADLINE_S

APP = APPS / "server_options.py"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def get(url_host: str, port: int, target: str = "/uri", *, family: int = socket.AF_INET) -> bytes:
    with socket.socket(family) as sock:
        sock.settimeout(DEADLINE_S)
        sock.connect((url_host, port))
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: asked.test\r\nConnection: close\r\n\r\n".encode())
        return read_all(sock).partition(b"\r\n\r\n")[2]


def test_alias_is_the_name_to_post_to(serve: Serve) -> None:
    server = serve(APPS / "aliases.py")
    assert server.get() == b"[True, None, False]"


def test_the_alias_is_httpd_by_default(serve: Serve) -> None:
    server = serve(APPS / "default_alias.py")
    assert server.get() == b"True"


def test_address_and_port_are_where_it_listens(serve: Serve) -> None:
    port = free_port()
    server = serve(APP, bind=False, parameters={"address": "127.0.0.1", "port": port})
    assert server.url == f"http://127.0.0.1:{port}"
    assert get("127.0.0.1", port) == b"http://asked.test/uri"


def test_port_0_picks_a_free_one(serve: Serve) -> None:
    server = serve(APP, bind=False, parameters={"address": "127.0.0.1", "port": 0})
    assert server.port > 0
    assert get("127.0.0.1", server.port)


def test_an_address_that_is_a_path_is_a_unix_socket(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    server = serve(APP, bind=False, parameters={"address": str(path)})
    assert server.url == f"unix:{path}"
    with server.connect() as sock:
        sock.sendall(b"GET /uri HTTP/1.1\r\nHost: local\r\nConnection: close\r\n\r\n")
        assert read_all(sock).endswith(b"http://local/uri")
    assert server.stop() == 0
    assert not path.exists()


def test_a_unix_socket_that_a_crash_left_behind_is_replaced(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
    server = serve(APP, bind=False, parameters={"address": str(path)})
    with server.connect() as sock:
        sock.sendall(b"GET /uri HTTP/1.0\r\n\r\n")
        assert b"200 OK" in read_all(sock)


def test_no_address_is_ipv4_and_ipv6(serve: Serve) -> None:
    server = serve(APP, bind=False, parameters={"port": 0})
    assert get("127.0.0.1", server.port) == b"http://asked.test/uri"
    if has_ipv6():
        assert get("::1", server.port, family=socket.AF_INET6) == b"http://asked.test/uri"


@pytest.mark.parametrize("domain", ["inet", int(socket.AF_INET)])
def test_domain_inet_is_ipv4_alone(serve: Serve, domain: object) -> None:
    server = serve(APP, bind=False, parameters={"port": 0, "domain": domain})
    assert server.host == "0.0.0.0"
    assert get("127.0.0.1", server.port) == b"http://asked.test/uri"
    if has_ipv6():
        with pytest.raises(ConnectionRefusedError):
            get("::1", server.port, family=socket.AF_INET6)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_domain_inet6_is_ipv6_alone(serve: Serve) -> None:
    server = serve(APP, bind=False, parameters={"port": 0, "domain": "inet6"})
    assert get("::1", server.port, family=socket.AF_INET6) == b"http://asked.test/uri"
    with pytest.raises(ConnectionRefusedError):
        get("127.0.0.1", server.port)


def test_domain_unix_takes_a_path_without_a_slash(serve: Serve, tmp_path: Path) -> None:
    server = serve(
        APP, "--chdir", str(tmp_path), bind=False, parameters={"address": "web.sock", "domain": "unix"}
    )
    assert server.url == f"unix:{tmp_path / 'web.sock'}"


def test_hostname_is_the_host_in_request_uris(serve: Serve) -> None:
    server = serve(APP, parameters={"hostname": "MySite.com"})
    assert server.get("/uri?a=b") == f"http://MySite.com:{server.port}/uri?a=b".encode()


def test_without_hostname_the_uri_has_the_host_that_was_asked_for(serve: Serve) -> None:
    server = serve(APP)
    assert get(server.host, server.port) == b"http://asked.test/uri"


def test_headers_are_in_every_response_unless_it_says_otherwise(serve: Serve) -> None:
    server = serve(APPS / "server_headers.py")
    for path, name in (
        ("/plain", "prefork"),
        ("/own", "mine"),
        ("/stream", "prefork"),
        ("/404", "prefork"),
    ):
        _, fields, _ = server.request(path)
        assert (fields["server"], fields["x-frame-options"]) == (name, "DENY"), path


def test_the_first_handler_whose_dir_is_found_in_the_path_responds(serve: Serve) -> None:
    server = serve(APPS / "handler_order.py")
    assert server.get("/a/b") == b"first ^/a/.*"
    assert server.get("/c/b") == b"second b$"
    assert server.get("/c/b?/a/") == b"second b$"  # the query is no part of the path
    assert server.get("/c") == b"first /"


@pytest.mark.parametrize(("keep_alive", "responses"), [(True, 2), (False, 1)])
def test_keep_alive_off_closes_after_each_response(serve: Serve, keep_alive: bool, responses: int) -> None:
    server = serve(APP, parameters={"keep_alive": keep_alive})
    one = b"GET /uri HTTP/1.1\r\nHost: a\r\n\r\n"
    received = server.raw(one + one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert received.count(b"HTTP/1.1 200 OK") == responses
    assert received.count(b"Connection: close") == 1


def test_in_proxy_mode_patterns_and_handlers_see_the_whole_uri_as_it_came(serve: Serve) -> None:
    server = serve(APP, parameters={"proxy_mode": True, "hostname": "MySite.com"})
    uri = "http://elsewhere.test:81/a%20b?c=%64"
    request = f"GET {uri} HTTP/1.1\r\nHost: elsewhere.test:81\r\nConnection: close\r\n\r\n"
    received = server.raw(request.encode())
    assert received.endswith(f"GET {uri} {uri}".encode())
    # A request for the proxy itself is left as it came as well.
    assert server.get("/uri") == b"/uri"


def test_outside_of_proxy_mode_an_absolute_target_is_its_path(serve: Serve) -> None:
    server = serve(APP)
    received = server.raw(b"GET http://a.test/uri HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
    assert received.endswith(b"http://a.test/uri")


def test_connect_is_refused_unless_in_proxy_mode(serve: Serve) -> None:
    connect = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nConnection: close\r\n\r\n"
    assert serve(APP).raw(connect).startswith(b"HTTP/1.1 405 ")
    assert serve(APP, parameters={"proxy_mode": True}).raw(connect).endswith(b"CONNECT a.test:443 a.test:443")


def test_a_response_that_opens_a_tunnel_has_no_framing_and_is_the_last_one(serve: Serve) -> None:
    connect = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"
    behind = b"GET /uri HTTP/1.1\r\nHost: a.test\r\n\r\n"
    head, _, rest = serve(APP, parameters={"proxy_mode": True}).raw(connect + behind).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"content-length" not in head.lower()
    assert b"transfer-encoding" not in head.lower()
    assert rest == b"CONNECT a.test:443 a.test:443"
    # A tunnel that is refused: what follows was meant for it.
    refused = serve(APP).raw(connect + behind)
    assert refused.startswith(b"HTTP/1.1 405 ")
    assert refused.count(b"HTTP/1.1") == 1


def test_a_host_name_is_every_address_of_it_that_this_machine_has(serve: Serve) -> None:
    server = serve(APP, "--bind", "localhost:0")
    for family, _, _, _, place in socket.getaddrinfo("localhost", server.port, 0, socket.SOCK_STREAM):
        if family == socket.AF_INET or has_ipv6():
            assert get(str(place[0]), server.port, family=family) == b"http://asked.test/uri"


ENGINE_RESPONSES = {
    400: b"nonsense\r\n\r\n",
    404: b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    405: b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    408: b"GET / HT",
    413: b"POST /plain HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n",
    417: b"POST /plain HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: rain\r\n\r\n",
    431: b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 2000,
    500: b"GET /raises HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    501: b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    504: b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n",
    505: b"GET / HTTP/3.0\r\n\r\n",
}


@pytest.mark.parametrize("status", ENGINE_RESPONSES)
def test_headers_are_in_what_the_server_responds_by_itself(serve: Serve, status: int) -> None:
    server = serve(APPS / "server_headers.py")
    response = only(server.raw(ENGINE_RESPONSES[status]))
    assert response.status == status
    assert response.headers["server"] == "prefork"
    assert response.headers["x-frame-options"] == "DENY"


def test_headers_are_not_in_interim_responses(serve: Serve) -> None:
    server = serve(APPS / "server_headers.py")
    head = b"POST /plain HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
    with server.connect() as sock:
        sock.sendall(head)
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
