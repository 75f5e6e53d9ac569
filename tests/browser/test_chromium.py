"""A browser looks at what is served: the synopsis, and an application that talks with its page."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support import tls
from support.apps import APPS
from support.server import Serve

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def browse(url: str, profile: Path, *more: str) -> str:
    """The page as the browser has it after loading it. `more`: options."""
    assert CHROMIUM is not None
    quiet = (
        "--headless --no-sandbox --disable-gpu --disable-quic --disable-sync --no-first-run "
        "--disable-background-networking --disable-component-update --disable-dev-shm-usage "
        "--ignore-certificate-errors --virtual-time-budget=10000"  # what the page's scripts wait for has come
    )
    command = [CHROMIUM, *quiet.split(), f"--user-data-dir={profile}", *more, "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=True).stdout


def test_a_browser_shows_the_page_of_a_worker(serve: Serve, tmp_path: Path) -> None:
    server = serve(EXAMPLES / "synopsis.py", "--workers", "2")
    page = browse(server.url, tmp_path / "profile")
    assert "<title>prefork</title>" in page
    assert any(f"Worker {pid} says hello" in page for pid in server.workers())


def test_a_browser_shows_the_error_page(serve: Serve, tmp_path: Path) -> None:
    server = serve(EXAMPLES / "synopsis.py", "--workers", "1")
    assert "there is no /elsewhere" in browse(f"{server.url}/elsewhere", tmp_path / "profile")


@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
@pytest.mark.parametrize("version", ["tls1.2", "tls1.3"])
def test_a_browser_shows_a_page_over_tls(serve: Serve, tmp_path: Path, version: str, alpn: str) -> None:
    """BoringSSL as a client."""
    server = serve(EXAMPLES / "synopsis.py", "--workers", "2", "--tls-alpn", alpn, *tls.OPTIONS)
    trust = f"--ignore-certificate-errors-spki-list={spki_of(tls.CERT)}"
    page = browse(server.url, tmp_path / "profile", trust, f"--ssl-version-max={version}")
    assert any(f"Worker {pid} says hello" in page for pid in server.workers())


def spki_of(certificate: Path) -> str:
    """The hash of its key, as Chromium's option wants it."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


TALKING = APPS / "talking_page.py"


@pytest.mark.parametrize(
    ("options", "loaded", "version"),
    [((), "http/1.1", "1.1"), (tls.OPTIONS, "h2", "2")],
    ids=["plain", "tls"],
)
def test_a_browser_talks_with_an_application(
    serve: Serve, tmp_path: Path, options: tuple[str, ...], loaded: str, version: str
) -> None:
    """Over TLS it speaks HTTP/2, and its WebSocket is a stream of that connection (RFC 8441)."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "tell.js").write_text(
        "function tell(text) { document.querySelector('ul').append(`[${text}]`) }", encoding="utf-8"
    )
    server = serve(TALKING, "--workers", "1", "--static", f"/files={files}", *options)
    page = browse(server.url, tmp_path / "profile")
    for reported in (
        f"loaded by {loaded}",
        "echoed 1000000",
        f"recorded from the page by {version}",
        "closed 1000 true permessage-deflate",
        "event 0",
        "event 2",
    ):
        assert f"[{reported}" in page
