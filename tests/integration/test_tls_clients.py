"""Other implementations of TLS as clients: OpenSSL, GnuTLS, NSS, Go. Python's ssl is in every other test, and
BoringSSL, as Chromium, in `tests/browser`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from support import tls
from support.apps import APPS
from support.server import Server, running

GET = b"GET /fields HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(
        str(APPS / "wire_app.py"), "--bind", "127.0.0.1:0", "--workers", "2", *tls.OPTIONS
    ) as server:
        yield server


def need(program: str, package: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed (Debian's package {package})")
    return found


def talk(command: Sequence[str], data: bytes) -> tuple[str, str]:
    done = subprocess.run(command, input=data, capture_output=True, timeout=50, check=False)
    return done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


@pytest.mark.parametrize(
    "options",
    [
        "-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256",
        "-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384",
        "-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256",
        "-tls1_3 -curves P-384",
        "-tls1_3 -split_send_frag 512 -max_send_frag 512",
        "-tls1_2",
        "-tls1_2 -cipher ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-CHACHA20-POLY1305",
    ],
)
def test_openssl(server: Server, options: str) -> None:
    where = f"-connect {server.host}:{server.port} -servername localhost -CAfile {tls.CERT}"
    command = [need("openssl", "openssl"), "s_client", *where.split(), "-verify_return_error", "-quiet"]
    out, err = talk([*command, *options.split()], GET * 3 + LAST)
    assert out.count("HTTP/1.1 200 OK") == 4, err
    assert "error" not in err


def test_openssl_updates_keys(server: Server) -> None:
    """A line of one letter is a command of s_client: `K` updates both keys, `k` the client's."""
    where = f"-connect {server.host}:{server.port} -servername localhost -CAfile {tls.CERT} -crlf -tls1_3"
    command = [need("openssl", "openssl"), "s_client", *where.split(), "-ign_eof"]
    with subprocess.Popen(
        command[:-1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
    ) as client:
        assert client.stdin
        assert client.stdout
        out = b""

        def until(text: bytes, count: int) -> None:
            nonlocal out
            while out.count(text) < count:
                piece = client.stdout.read(65536)  # type: ignore[union-attr]
                assert piece, out
                out += piece

        until(b"Verify return code", 1)
        for number, letter in enumerate((b"K\n", b"k\n", b"K\n", b"K\n")):
            client.stdin.write(letter)
            until(b"KEYUPDATE", number + 1)
            client.stdin.write(b"GET /fields HTTP/1.1\nHost: a\n\n")
            until(b'[["host", "a"]]', number + 1)
        client.stdin.close()
        assert b"error" not in out.lower().replace(b"verify error", b"")


def test_openssl_may_send_no_early_data(server: Server, tmp_path: Path) -> None:
    """It could be replayed (RFC 8446, section 8)."""
    session, data = tmp_path / "session", tmp_path / "data"
    data.write_bytes(LAST)
    where = f"-connect {server.host}:{server.port} -servername localhost -CAfile {tls.CERT} -tls1_3 -ign_eof"
    command = [need("openssl", "openssl"), "s_client", *where.split()]
    out, err = talk([*command, "-sess_out", str(session)], LAST)
    assert "Max Early Data: 0" in out, err
    out, err = talk([*command, "-sess_in", str(session), "-early_data", str(data)], LAST)
    assert "Reused, TLSv1.3" in out, err
    assert "Early data was not sent" in out
    assert out.count("HTTP/1.1 200 OK") == 1


@pytest.mark.parametrize("priority", ["NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2"])
def test_gnutls(server: Server, priority: str) -> None:
    where = (
        f"--port {server.port} --sni-hostname localhost --verify-hostname localhost --x509cafile {tls.CERT}"
    )
    command = [need("gnutls-cli", "gnutls-bin"), *where.split(), "--priority", priority, server.host]
    out, err = talk(command, GET * 3 + LAST)
    assert out.count("HTTP/1.1 200 OK") == 4, out + err
    assert "*** Fatal" not in out + err


@pytest.mark.parametrize("version", ["tls1.3", "tls1.2"])
def test_nss_connects_and_comes_back_with_its_ticket(server: Server, tmp_path: Path, version: str) -> None:
    certutil, client = need("certutil", "libnss3-tools"), need("tstclnt", "libnss3-tools")
    database, requests = f"sql:{tmp_path}", tmp_path / "requests"
    talk([certutil, "-N", "-d", database, "--empty-password"], b"")
    talk([certutil, "-A", "-n", "site", "-t", "CT,,", "-i", str(tls.CERT), "-d", database], b"")
    requests.write_bytes(GET * 2 + LAST)
    where = f"-4 -h localhost -p {server.port} -a localhost -d {database} -V {version}:{version}"
    out, err = talk([client, *where.split(), "-u", "-L", "3", "-A", str(requests)], b"")
    assert out.count("HTTP/1.1 200 OK") == 9, out + err
    assert out.count('[["host", "a"]]') == 6
    assert "2 stateless resumes" in out + err


GO = """
package main

import (
    "bytes"
    "crypto/tls"
    "crypto/x509"
    "fmt"
    "io"
    "net/http"
    "os"
)

func main() {
    pem, _ := os.ReadFile(os.Args[2])
    roots := x509.NewCertPool()
    roots.AppendCertsFromPEM(pem)
    for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
        config := &tls.Config{RootCAs: roots, ServerName: "localhost"}
        config.MinVersion, config.MaxVersion = version, version
        config.ClientSessionCache = tls.NewLRUClientSessionCache(8)
        client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
        for round := 0; round < 3; round++ {
            body := bytes.Repeat([]byte("x"), 300000)
            response, err := client.Post(os.Args[1]+"/x", "text/plain", bytes.NewReader(body))
            if err != nil {
                fmt.Println("failed:", err)
                os.Exit(1)
            }
            back, err := io.ReadAll(response.Body)
            if err != nil || !bytes.Equal(back, body) {
                fmt.Println("failed:", len(back), err)
                os.Exit(1)
            }
            fmt.Println(tls.VersionName(response.TLS.Version), response.Status, len(back))
            if round == 1 {
                client.CloseIdleConnections()
            }
        }
    }
}
"""


def test_go(server: Server, tmp_path: Path) -> None:
    (tmp_path / "client.go").write_text(GO)
    command = [need("go", "golang-go"), "run", str(tmp_path / "client.go"), server.url, str(tls.CERT)]
    out, err = talk(command, b"")
    expected = [f"{version} 200 OK 300000" for version in ("TLS 1.3", "TLS 1.2") for _ in range(3)]
    assert out.splitlines() == expected, err


def test_curl(server: Server) -> None:
    options = f"-s --cacert {tls.CERT} --resolve localhost:{server.port}:127.0.0.1 -w %{{ssl_verify_result}}"
    out, err = talk([need("curl", "curl"), *options.split(), f"https://localhost:{server.port}/fields"], b"")
    assert '"host"' in out, err
    assert out.endswith("0")
