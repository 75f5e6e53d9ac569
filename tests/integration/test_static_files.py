"""Directories in front of an application: what is sent of their files, and what never is."""

from __future__ import annotations

import os
import socket
import stat
from email import message_from_bytes
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from support.apps import APPS
from support.responses import read_all, read_response
from support.server import Serve, Server, run_prefork
from support.waiting import wait_until

WSGI = APPS / "wsgi_path.py"
ASGI = APPS / "asgi_path.py"
EVENTS = APPS / "events_path.py"
LARGE = os.urandom(3 << 20)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A tree, and beside it what must not be seen."""
    (tmp_path / "secret.txt").write_text("secret")
    root = tmp_path / "public"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "a.txt").write_text("0123456789")
    (root / "empty.css").touch()
    (root / "large.bin").write_bytes(LARGE)
    (root / "app.js").write_text("plain script")
    (root / "app.js.gz").write_text("gzip script")
    (root / "app.js.br").write_text("brotli")
    (root / "sub" / "index.html").write_text("<p>index</p>")
    (root / "sub" / "sp ace\u00e4.txt").write_text("odd")
    (root / ".hidden").write_text("secret")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("secret")
    (root / "inside.txt").symlink_to(root / "a.txt")
    (root / "outside.txt").symlink_to(tmp_path / "secret.txt")
    (root / "up").symlink_to(tmp_path)
    (root / "to_hidden.txt").symlink_to(root / ".hidden")
    os.mkfifo(root / "pipe")
    os.mknod(root / "socket", stat.S_IFSOCK | 0o666)
    return root


@pytest.fixture
def server(serve: Serve, files: Path) -> Server:
    return serve(WSGI, "--workers", "1", "--static", f"/static={files}")


def get(server: Server, path: str, **fields: str) -> tuple[int, dict[str, str], bytes]:
    return server.request(path, headers={name.replace("_", "-"): value for name, value in fields.items()})


# --- whose it is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("app", [WSGI, ASGI, EVENTS], ids=["wsgi", "asgi", "events"])
def test_files_are_in_front_of_every_kind_of_application(serve: Serve, files: Path, app: str) -> None:
    server = serve(app, "--static", f"/static={files}")
    status, fields, body = server.request("/static/a.txt")
    assert (status, body) == (200, b"0123456789")
    assert fields["content-type"] == "text/plain; charset=utf-8"
    assert fields["content-length"] == "10"
    assert fields["accept-ranges"] == "bytes"
    assert server.get("/other") == b"app /other"
    assert server.get("/statically") == b"app /statically"
    assert server.request("/other", "POST", b"body")[2] == b"app /other"
    assert server.request("/static/nothing")[0] == 404


def test_several_directories_the_longest_prefix_counts(serve: Serve, files: Path) -> None:
    flags = (
        "--static",
        f"/={files}/sub",
        "--static",
        f"/files={files}",
        "--static",
        f"/files/up={files}/sub",
    )
    server = serve(WSGI, *flags)
    assert server.get("/") == b"<p>index</p>"
    assert server.get("/files/a.txt") == b"0123456789"
    assert server.get("/files/up/") == b"<p>index</p>"


def test_directories_may_come_from_the_environment_and_the_file(
    serve: Serve, files: Path, tmp_path: Path
) -> None:
    server = serve(WSGI, env={"PREFORK_STATIC": f"/one={files}, /two={files}/sub"})
    assert server.get("/one/a.txt") == b"0123456789"
    assert server.get("/two/") == b"<p>index</p>"
    config = tmp_path / "prefork.toml"
    config.write_text(f'static = ["/one={files}", "/two={files}/sub"]\n')
    assert serve(WSGI, "--config", str(config)).get("/two/index.html") == b"<p>index</p>"


def test_a_proxy_has_files_of_its_own_and_asks_for_no_others(serve: Serve, files: Path) -> None:
    server = serve(EVENTS, "--proxy-mode", "--static", f"/static={files}")
    assert server.get("/static/a.txt") == b"0123456789"
    assert server.get("/static/a.txt?version=1") == b"0123456789"
    assert server.get("/static/sub/sp%20ace%C3%A4.txt?/static/none") == b"odd"
    assert server.request("/static/sub?q=1")[1]["location"] == "sub/?q=1"
    assert server.request("/static/%2e%2e/secret.txt")[0] == 404
    assert server.get("/other?/static/a.txt") == b"app /other?/static/a.txt"
    there = "http://there.test/static/a.txt"
    raw = server.raw(f"GET {there} HTTP/1.1\r\nHost: there.test\r\nConnection: close\r\n\r\n".encode())
    assert raw.endswith(f"app {there}".encode())


@pytest.mark.parametrize("said", ["static", "/static", "static=.", "/static=/does/not/exist"])
def test_what_names_no_directory_is_refused(said: str) -> None:
    done = run_prefork("serve", str(WSGI), "--static", said)
    assert done.returncode == 2
    assert done.stderr.startswith("prefork: --static: expected /prefix=directory with an existing directory")


# --- applications of one page -------------------------------------------------------------------------------


@pytest.fixture
def site(serve: Serve, files: Path) -> Server:
    (files / "index.html").write_text("<p>app</p>")
    (files / "index.html.gz").write_text("<p>packed</p>")
    fallback = ("--static-fallback", "/=index.html")
    return serve(WSGI, "--static", f"/={files}", "--static", "/api=-", *fallback)


@pytest.mark.parametrize(
    "path", ["/", "/users", "/users/7/edit", "/sub/none", "/a.txt/x", "/apis", "/sub/deep/"]
)
def test_a_page_that_does_not_exist_is_the_fallback(site: Server, path: str) -> None:
    status, fields, body = get(site, path)
    assert (status, body) == (200, b"<p>app</p>")
    assert fields["content-type"] == "text/html; charset=utf-8"
    status, fields, _ = site.request(path, "HEAD")
    assert (status, fields["content-length"]) == (200, "10")
    assert get(site, path, Accept_Encoding="gzip")[2] == b"<p>packed</p>"
    assert get(site, path, If_None_Match=get(site, path)[1]["etag"])[0] == 304


def test_a_file_that_does_not_exist_is_no_page_unless_a_browser_opens_it(site: Server) -> None:
    assert get(site, "/assets/app.js")[0] == 404
    assert get(site, "/assets/app.js", Accept="*/*")[0] == 404
    opened = "text/html,application/xhtml+xml,*/*;q=0.8"
    assert get(site, "/users/ann.smith", Accept=opened)[::2] == (200, b"<p>app</p>")
    assert site.get("/a.txt") == b"0123456789"
    assert get(site, "/sub")[0] == 301
    assert get(site, "/sub/")[2] == b"<p>index</p>"


@pytest.mark.parametrize("path", ["/.hidden", "/.git/config", "/sub/../none", "//none", "/%2e%2e/none"])
def test_what_is_hidden_is_no_page(site: Server, path: str) -> None:
    raw = site.raw(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nConnection: close\r\n\r\n".encode()
    )
    assert raw.startswith(b"HTTP/1.1 404 ")


def test_the_application_has_its_paths_and_other_methods_none_of_the_files(site: Server) -> None:
    assert site.get("/api/users") == b"app /api/users"
    assert site.get("/api") == b"app /api"
    assert site.request("/api/users", "POST", b"x")[2] == b"app /api/users"
    assert site.request("/users", "POST", b"x")[0] == 405


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--static-fallback", "/=a.html"], "static_fallback: no static directory has the prefix /"),
        (
            ["--static", "/=.", "--static-fallback", "/=no.html"],
            "static_fallback: there is no file no.html in",
        ),
        (["--static-fallback", "index.html"], "--static-fallback: expected /prefix=file"),
        (["--static-cache", "/a=soon"], "--static-cache: expected pattern=time"),
    ],
)
def test_a_wrong_option_of_static_files_is_one_line(flags: list[str], told: str) -> None:
    done = run_prefork("serve", str(WSGI), *flags)
    assert done.returncode == 2
    assert done.stderr.startswith(f"prefork: {told}")
    assert done.stderr.count("\n") == 1


# --- how long it may be kept --------------------------------------------------------------------------------


def test_a_file_may_be_kept_as_long_as_the_first_pattern_says(serve: Serve, files: Path) -> None:
    (files / "sub" / "app.0a1b2c3d.js").write_text("hashed")
    rules = ("*.????????.js=immutable", "/static/sub/*=no-cache", "*.js=1h")
    flags = [flag for rule in rules for flag in ("--static-cache", rule)]
    server = serve(WSGI, "--static", f"/static={files}", *flags)
    kept = {
        "/static/sub/app.0a1b2c3d.js": "max-age=31536000, immutable",
        "/static/sub/": "no-cache",
        "/static/app.js": "max-age=3600",
        "/static/a.txt": None,
    }
    for path, expected in kept.items():
        status, fields, _ = get(server, path, Accept_Encoding="br")
        assert (path, status, fields.get("cache-control")) == (path, 200, expected)
        status, again, _ = get(server, path, Accept_Encoding="br", If_None_Match=fields["etag"])
        assert (path, status, again.get("cache-control")) == (path, 304, expected)
    assert get(server, "/static/app.js", Range="bytes=0-1")[1]["cache-control"] == "max-age=3600"
    assert "cache-control" not in get(server, "/static/none.js")[1]


def test_a_variable_has_patterns_and_whole_values_of_cache_control(serve: Serve, files: Path) -> None:
    rules = "/static/sub/*=public, max-age=60,*.js=private,no-transform , *=1h"
    server = serve(WSGI, env={"PREFORK_STATIC": f"/static={files}", "PREFORK_STATIC_CACHE": rules})
    for path, expected in (
        ("/static/sub/", "public, max-age=60"),
        ("/static/app.js", "private,no-transform"),
        ("/static/a.txt", "max-age=3600"),
    ):
        assert get(server, path)[1]["cache-control"] == expected


# --- what is sent -------------------------------------------------------------------------------------------


def test_a_large_file_is_whole_over_tcp_and_over_a_unix_socket(
    serve: Serve, files: Path, tmp_path: Path
) -> None:
    assert serve(WSGI, "--static", f"/s={files}").get("/s/large.bin") == LARGE
    server = serve(WSGI, "--bind", f"unix:{tmp_path}/socket", "--static", f"/s={files}")
    raw = server.raw(b"GET /s/large.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert raw.partition(b"\r\n\r\n")[2] == LARGE


def test_files_are_pipelined_with_other_responses(server: Server) -> None:
    targets = ["/static/a.txt", "/x", "/static/large.bin", "/static/empty.css", "/y", "/static/a.txt"]
    asked = "".join(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n" for target in targets)
    raw = server.raw(asked.encode() + b"GET /z HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    bodies = [b"0123456789", b"app /x", LARGE, b"", b"app /y", b"0123456789", b"app /z"]
    for body in bodies:
        head, _, raw = raw.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert raw.startswith(body)
        raw = raw[len(body) :]
    assert raw == b""


def test_head_has_the_length_and_no_body(server: Server) -> None:
    status, fields, body = server.request("/static/a.txt", "HEAD")
    assert (status, fields["content-length"], body) == (200, "10", b"")


@pytest.mark.parametrize(
    ("method", "body"), [("POST", b"x"), ("PUT", b"x"), ("DELETE", None), ("OPTIONS", None)]
)
def test_files_can_only_be_read(server: Server, method: str, body: bytes | None) -> None:
    status, fields, _ = server.request("/static/a.txt", method, body)
    assert (status, fields["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/static", "static/"),
        ("/static/sub", "sub/"),
        ("/static/s%75b?a=%20", "s%75b/?a=%20"),
        ("/static/sub%2Fdeep", "sub%2Fdeep/"),
        ("/static/a:b", "./a:b/"),
    ],
)
def test_a_directory_is_asked_for_with_a_slash(server: Server, files: Path, path: str, location: str) -> None:
    (files / "a:b").mkdir()
    (files / "a:b" / "index.html").touch()
    status, fields, _ = server.request(path)
    assert (status, fields["location"]) == (301, location)
    slashed = path.replace("?", "/?") if "?" in path else path + "/"
    for known_as in ("http://shop.test", "http://shop.test/behind/a/proxy"):
        assert urljoin(known_as + path, location) == known_as + slashed


@pytest.mark.parametrize("path", ["/static/sub", "/static/sub?a:b/c", "/static/%73ub"])
def test_following_the_redirect_gets_the_index(server: Server, path: str) -> None:
    found = httpx.get(server.url + path, follow_redirects=True, trust_env=False)
    assert (found.status_code, found.content) == (200, b"<p>index</p>")


def test_a_directory_is_its_index(server: Server) -> None:
    status, fields, body = server.request("/static/sub/")
    assert (status, body) == (200, b"<p>index</p>")
    assert fields["content-type"] == "text/html; charset=utf-8"
    assert server.request("/static/sub/deep/")[0] == 404
    assert server.request("/static/")[0] == 404


def test_the_type_of_a_file_is_that_of_its_name(server: Server, files: Path) -> None:
    kinds = {
        "a.ogg": "audio/ogg",
        "a.oga": "audio/ogg",
        "a.m4a": "audio/mp4",
        "a.flac": "audio/flac",
        "a.ogv": "video/ogg",
        "a.m4v": "video/mp4",
        "a.jxl": "image/jxl",
        "a.apng": "image/apng",
        "a.avif": "image/avif",
        "a.webp": "image/webp",
        "a.woff2": "font/woff2",
        "a.mjs": "text/javascript; charset=utf-8",
        "a.js.map": "application/json",
        "a.wasm": "application/wasm",
        "a.svg": "image/svg+xml",
        "a.tar.gz": "application/gzip",
        "a.tgz": "application/gzip",
        "a.svg.gz": "application/gzip",
        "a.unknown": "application/octet-stream",
    }
    for name, kind in kinds.items():
        (files / name).touch()
        _, fields, _ = server.request(f"/static/{name}")
        assert (name, fields["content-type"]) == (name, kind)
        assert "content-encoding" not in fields


def test_a_compressed_image_says_so_and_has_no_siblings(server: Server, files: Path) -> None:
    (files / "a.svgz").write_text("packed")
    (files / "a.svgz.br").write_text("packed twice")
    status, fields, body = get(server, "/static/a.svgz", Accept_Encoding="gzip, br")
    assert (status, body) == (200, b"packed")
    assert (fields["content-type"], fields["content-encoding"]) == ("image/svg+xml", "gzip")
    assert "vary" not in fields


def test_names_are_decoded_once(server: Server) -> None:
    assert server.get("/static/sub/sp%20ace%C3%A4.txt") == b"odd"
    assert server.get("/static/sub%2Findex.html") == b"<p>index</p>"
    assert server.request("/static/a%252etxt")[0] == 404


# --- what never is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "%2e%2e/secret.txt",
        "..%2fsecret.txt",
        "%2e%2e%2fsecret.txt",
        "sub/../../secret.txt",
        "sub/../a.txt",
        "./a.txt",
        "/a.txt",
        "sub//index.html",
        "..",
        ".",
        ".hidden",
        "%2ehidden",
        ".git/config",
        "sub/../.git/config",
        "a.txt%00.html",
        "a.txt/",
        "outside.txt",
        "up/secret.txt",
        "up/public/a.txt/..",
        "to_hidden.txt",
        "pipe",
        "socket",
        "x" * 5000,
        "..\\secret.txt",
        "%c0%ae%c0%ae/secret.txt",
    ],
)
def test_nothing_outside_and_nothing_hidden_is_sent(server: Server, path: str) -> None:
    raw = server.raw(f"GET /static/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1"))
    assert raw.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert raw.endswith(b"\r\n\r\n404 Not Found")


def test_a_link_to_a_file_of_the_same_directory_is_followed(server: Server) -> None:
    assert server.get("/static/inside.txt") == b"0123456789"
    assert server.get("/static/up/public/a.txt") == b"0123456789"


# --- again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("app", [WSGI, EVENTS], ids=["wsgi", "events"])
def test_a_response_without_the_file_says_nothing_about_its_bytes(
    serve: Serve, files: Path, app: str
) -> None:
    server = serve(app, "--workers", "1", "--static", f"/static={files}")
    _, whole, _ = get(server, "/static/app.js", Accept_Encoding="gzip")
    _, same, _ = get(server, "/static/app.js", Accept_Encoding="gzip", If_None_Match=whole["etag"])
    assert same == {name: whole[name] for name in ("etag", "last-modified", "vary")} | {"date": same["date"]}


def test_a_list_may_come_in_several_lines(server: Server) -> None:
    def ask(path: str, *lines: str) -> bytes:
        fields = "".join(f"{line}\r\n" for line in (*lines, "Connection: close"))
        return server.raw(f"GET /static/{path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())

    tag = get(server, "/static/a.txt")[1]["etag"]
    assert ask("a.txt", 'If-None-Match: "x"', f"If-None-Match: {tag}").startswith(b"HTTP/1.1 304 ")
    assert ask("a.txt", 'If-Match: "x"', f"If-Match: {tag}").startswith(b"HTTP/1.1 200 ")
    assert ask("a.txt", 'If-Match: "x"', 'If-Match: "y"').startswith(b"HTTP/1.1 412 ")
    assert ask("app.js", "Accept-Encoding: zstd", "Accept-Encoding: br").endswith(b"\r\n\r\nbrotli")


def test_what_the_client_has_is_not_sent_again(server: Server) -> None:
    _, first, _ = get(server, "/static/a.txt")
    for fields in ({"If_None_Match": first["etag"]}, {"If_Modified_Since": first["last-modified"]}):
        status, found, body = get(server, "/static/a.txt", **fields)
        assert (status, body) == (304, b"")
        assert found["etag"] == first["etag"]
        assert "content-length" not in found
    assert get(server, "/static/a.txt", If_Match='"x"')[0] == 412


def test_a_file_that_changes_is_noticed_at_once(server: Server, files: Path) -> None:
    tags = set()
    for text in (b"0123456789", b"another", b"one more"):
        (files / "a.txt").write_bytes(text)
        status, fields, body = get(server, "/static/a.txt")
        assert (status, body) == (200, text)
        tags.add(fields["etag"])
    os.replace(files / "app.js", files / "a.txt")
    assert server.get("/static/a.txt") == b"plain script"
    (files / "a.txt").unlink()
    assert server.request("/static/a.txt")[0] == 404
    assert len(tags) == 3


def test_a_link_that_is_turned_outside_is_not_followed(server: Server, files: Path) -> None:
    assert server.get("/static/inside.txt") == b"0123456789"
    (files / "inside.txt").unlink()
    (files / "inside.txt").symlink_to(files.parent / "secret.txt")
    assert server.request("/static/inside.txt")[0] == 404


def test_only_so_many_files_stay_open(serve: Serve, files: Path) -> None:
    for number in range(300):
        (files / f"{number}.txt").write_text(str(number))
    server = serve(WSGI, "--workers", "1", "--static", f"/s={files}")
    (worker,) = server.workers()
    before = server.descriptors(worker)
    for number in (*range(300), 5, 299):
        assert server.get(f"/s/{number}.txt") == str(number).encode()
    # The last client's connection may be open for a moment.
    wait_until(lambda: server.descriptors(worker) - before <= 130, "no more than 128 files")


# --- parts and codings --------------------------------------------------------------------------------------


def test_a_range_is_a_part(server: Server) -> None:
    status, fields, body = get(server, "/static/a.txt", Range="bytes=2-4")
    assert (status, body) == (206, b"234")
    assert (fields["content-range"], fields["content-length"]) == ("bytes 2-4/10", "3")
    status, _, body = get(server, "/static/large.bin", Range="bytes=-100000")
    assert (status, body) == (206, LARGE[-100000:])


def test_a_range_behind_the_end_cannot_be_had(server: Server) -> None:
    status, fields, _ = get(server, "/static/a.txt", Range="bytes=10-")
    assert (status, fields["content-range"]) == (416, "bytes */10")


@pytest.mark.parametrize(
    "fields",
    [
        {"Range": "x"},
        {"Range": "bytes=0-1", "If_Range": '"x"'},
        {"Range": "bytes=0-1,3-4", "If_Range": '"x"'},
        {"Range": "bytes=0-,0-,0-"},
        {"Range": "bytes=" + ",".join(["0-0", "1-1"] * 6)},
    ],
)
def test_other_ranges_are_the_whole(server: Server, fields: Any) -> None:
    assert get(server, "/static/a.txt", **fields)[::2] == (200, b"0123456789")


@pytest.mark.parametrize("app", [WSGI, ASGI, EVENTS], ids=["wsgi", "asgi", "events"])
def test_several_ranges_are_the_parts_of_one_message(serve: Serve, files: Path, app: str) -> None:
    server = serve(app, "--workers", "1", "--static", f"/static={files}")
    asked = b"GET /static/%s HTTP/1.1\r\nHost: x\r\nRange: bytes=%s\r\n\r\n"
    last = b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with server.connect() as sock:
        responses = []
        for request in (
            asked % (b"a.txt", b"2-4,20-,0-0,-1"),
            asked % (b"large.bin", b"0-999999,-1000000"),
            last,
        ):
            sock.sendall(request)
            responses.append(read_response(sock))
    for (status, fields, body), content, ranges in (
        (responses[0], b"0123456789", [(2, 4), (0, 0), (9, 9)]),
        (responses[1], LARGE, [(0, 999_999), (len(LARGE) - 1_000_000, len(LARGE) - 1)]),
    ):
        assert (status, fields["content-length"]) == (206, str(len(body)))
        assert "content-range" not in fields
        message = message_from_bytes(f"Content-Type: {fields['content-type']}\r\n\r\n".encode() + body)
        assert message.get_content_type() == "multipart/byteranges"
        parts: Any = message.get_payload()
        assert len(parts) == len(ranges)
        boundary = str(message.get_boundary()).encode()
        assert body.endswith(b"\r\n--" + boundary + b"--\r\n")
        sent = body.split(b"\r\n--" + boundary)[1:-1]
        for part, raw, (first, end) in zip(parts, sent, ranges, strict=True):
            assert part["Content-Range"] == f"bytes {first}-{end}/{len(content)}"
            assert raw.partition(b"\r\n\r\n")[2] == content[first : end + 1]
    assert parts[0]["Content-Type"] == "application/octet-stream"
    assert responses[2][2] == b"app /x"


def test_of_several_ranges_one_that_can_be_had_is_a_part_and_none_is_416(server: Server) -> None:
    status, fields, body = get(server, "/static/a.txt", Range="bytes=20-,7-8,30-")
    assert (status, fields["content-range"], body) == (206, "bytes 7-8/10", b"78")
    status, fields, _ = get(server, "/static/a.txt", Range="bytes=10-,-0,20-30")
    assert (status, fields["content-range"]) == (416, "bytes */10")


def test_several_ranges_of_a_compressed_sibling_are_the_whole(server: Server) -> None:
    asked = {"Range": "bytes=0-1,3-4", "Accept_Encoding": "br"}
    status, fields, body = get(server, "/static/app.js", **asked)
    assert (status, fields["content-encoding"], body) == (200, "br", b"brotli")
    assert get(server, "/static/app.js", **asked | {"Range": "bytes=0-1"})[::2] == (206, b"br")


def test_ranges_are_for_get_alone_and_for_what_the_client_has(server: Server) -> None:
    several = {"Range": "bytes=0-1,3-4"}
    status, fields, body = server.request("/static/a.txt", "HEAD", headers=several)
    assert (status, fields["content-length"], body) == (200, "10", b"")
    tag = get(server, "/static/a.txt")[1]["etag"]
    assert get(server, "/static/a.txt", If_Range=tag, **several)[0] == 206
    assert get(server, "/static/a.txt", If_None_Match=tag, **several)[0] == 304


def test_a_compressed_sibling_is_sent_to_a_client_that_accepts_it(server: Server) -> None:
    found = {}
    for liked, coding, text in (
        ("gzip, br", "br", b"brotli"),
        ("gzip", "gzip", b"gzip script"),
        ("identity", None, b"plain script"),
    ):
        status, fields, body = get(server, "/static/app.js", Accept_Encoding=liked)
        assert (status, fields.get("content-encoding"), body) == (200, coding, text)
        assert fields["content-type"] == "text/javascript; charset=utf-8"
        assert fields["vary"] == "Accept-Encoding"
        found[liked] = fields["etag"]
    assert len(set(found.values())) == 3
    assert get(server, "/static/app.js.gz")[1]["content-type"] == "application/gzip"
    assert "vary" not in get(server, "/static/a.txt", Accept_Encoding="gzip")[1]


def test_a_client_that_does_not_read_a_file_is_left_in_the_end(serve: Serve, files: Path) -> None:
    with (files / "huge").open("wb") as file:
        file.truncate(100 << 20)
    server = serve(WSGI, "--workers", "1", "--send-timeout", "0.3", "--static", f"/s={files}")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect((server.host, server.port))
        sock.sendall(b"GET /s/huge HTTP/1.1\r\nHost: x\r\n\r\n")
        server.wait_log("the client did not read its response")
    assert server.get("/s/a.txt") == b"0123456789"


def test_a_file_that_shrinks_while_it_is_sent_ends_the_connection(serve: Serve, files: Path) -> None:
    with (files / "huge").open("wb") as file:
        file.truncate(100 << 20)
    server = serve(WSGI, "--workers", "1", "--static", f"/s={files}")
    with server.connect() as sock:
        sock.sendall(b"GET /s/huge HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 OK")
        os.truncate(files / "huge", 10)
        assert len(read_all(sock)) < 100 << 20
    server.wait_log("a file became shorter while it was sent")
    assert server.get("/s/huge") == b"\0" * 10
