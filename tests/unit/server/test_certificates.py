"""Certificates in the manager: what is refused, watched, and told of."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from prefork.config.checked import check
from prefork.config.options import ServerOptions
from prefork.errors import OptionError
from prefork.server import certificates
from prefork.server.certificates import Certificates
from support.certificates import Authority, Files, key_pem, make_key, pem, save


@pytest.fixture
def root() -> Authority:
    return Authority()


def read(files: Files, **options: object) -> Certificates:
    given = {"tls_cert": str(files.cert), "tls_key": str(files.key)} | options
    return Certificates(check(ServerOptions, given))


def refused(files: Files, **options: object) -> str:
    """The one line of the error."""
    with pytest.raises(OptionError) as raised:
        read(files, **options)
    text = str(raised.value)
    assert "\n" not in text
    assert "BEGIN" not in text
    return text


def test_a_certificate_with_its_chain_and_its_key(root: Authority, tmp_path: Path) -> None:
    between = Authority("Between", root)
    files = save(tmp_path, *between.issue("localhost"))
    ((subject, end),) = read(files).config.certificates
    assert subject == "CN=localhost"
    assert end > 0


def test_both_may_be_in_one_file(root: Authority, tmp_path: Path) -> None:
    files = save(tmp_path, *root.issue("localhost"))
    both = tmp_path / "both.pem"
    both.write_bytes(files.key.read_bytes() + files.cert.read_bytes())
    assert Certificates(check(ServerOptions, {"tls_cert": str(both)})).config.certificates


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
def test_each_form_of_a_key(kind: str, form: str, root: Authority, tmp_path: Path) -> None:
    key = make_key(kind)
    files = save(tmp_path, *root.issue("localhost", key=key))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            getattr(serialization.PrivateFormat, form),
            serialization.NoEncryption(),
        )
    )
    assert read(files).config.certificates


def test_a_key_of_another_certificate(root: Authority, tmp_path: Path) -> None:
    files = save(tmp_path, *root.issue("localhost"))
    files.key.write_bytes(key_pem(make_key()))
    assert refused(files) == f"TLS: {files.cert}: the key in {files.key} does not fit the certificate"


@pytest.mark.parametrize("place", ["cert", "key", "client_ca", "crl"])
@pytest.mark.parametrize("front", [b"\xef\xbb\xbf", b"  ", b"-----END CERTIFICATE-----"])
def test_a_section_that_does_not_begin_its_line_is_not_left_out(
    front: bytes, place: str, root: Authority, tmp_path: Path
) -> None:
    files = save(tmp_path, *Authority("Between", root).issue("localhost"))
    (revoked, *_), _ = root.issue("client")
    options = {
        "tls_client_ca": str(root.save(tmp_path)),
        "tls_client_crl": str(root.revoke(tmp_path, revoked)),
    }
    assert read(files, **options).config.certificates
    paths = {"cert": files.cert, "key": files.key}
    paths |= {"client_ca": Path(options["tls_client_ca"]), "crl": Path(options["tls_client_crl"])}
    path = paths[place]
    whole = path.read_bytes()
    at = whole.rindex(b"-----BEGIN ")
    path.write_bytes(whole[:at] + front + whole[at:])
    assert f"TLS: {path}: a section of PEM does not begin its line: " in refused(files, **options)


@pytest.mark.parametrize("place", ["cert", "key"])
def test_a_file_that_is_none_is_not_waited_for(place: str, root: Authority, tmp_path: Path) -> None:
    files = save(tmp_path, *root.issue("localhost"))
    used = read(files)
    path = getattr(files, place)
    for other in ("a pipe", "/dev/zero"):
        path.unlink()
        os.mkfifo(path) if other == "a pipe" else path.symlink_to(other)
        expected = f"cannot read {path}: it is no regular file, which can be read again"
        assert refused(files) == f"TLS: {expected}"
        assert not used.reload()
        assert used.trouble == expected
    assert used.config.certificates


def test_ciphers_that_no_handshake_could_use(root: Authority, tmp_path: Path) -> None:
    files = save(tmp_path, *root.issue("localhost"))
    rsa = "ECDHE-RSA-AES128-GCM-SHA256"
    expected = "TLS: none of the ciphers can be used with the key of the certificate of CN=localhost"
    assert refused(files, tls_ciphers=rsa) == expected
    used = read(save(tmp_path, *root.issue("localhost", key=make_key("rsa"))), tls_ciphers=rsa)
    save(tmp_path, *root.issue("localhost"))
    assert not used.reload()
    assert read(files, tls_ciphers=f"{rsa}:TLS_AES_128_GCM_SHA256").config.certificates


def test_the_servers_own_certificate_must_be_the_first(root: Authority, tmp_path: Path) -> None:
    between = Authority("Between", root)
    (own, *others), key = between.issue("localhost")
    files = save(tmp_path, [*others, own], key)
    expected = f"the key in {files.key} is that of certificate 2: the server's own must be the first"
    assert expected in refused(files)


def test_each_certificate_must_be_followed_by_that_of_its_issuer(root: Authority, tmp_path: Path) -> None:
    upper = Authority("Upper", root)
    lower = Authority("Lower", upper)
    (own, one, two), key = lower.issue("localhost")
    assert read(save(tmp_path, [own, one, two], key)).config.certificates
    files = save(tmp_path, [own, two, one], key)
    text = "certificate 1 is followed by CN=Upper: expected its issuer, CN=Lower"
    assert refused(files) == f"TLS: {files.cert}: {text}"


def test_a_certificate_that_has_expired(root: Authority, tmp_path: Path) -> None:
    files = save(tmp_path, *root.issue("localhost", days=(-9, -1)))
    assert f"TLS: {files.cert}: the certificate expired on " in refused(files)


def test_a_certificate_that_is_not_valid_yet(root: Authority, tmp_path: Path) -> None:
    files = save(tmp_path, *root.issue("localhost", days=(1, 9)))
    assert f"TLS: {files.cert}: the certificate is not valid before " in refused(files)


def test_files_that_have_something_else(root: Authority, tmp_path: Path) -> None:
    files = save(tmp_path, *root.issue("localhost"))
    assert refused(Files(files.key, files.key)) == f"TLS: {files.key}: there is no certificate in it, as PEM"
    assert (
        refused(Files(files.cert, files.cert)) == f"TLS: {files.cert}: there is no private key in it, as PEM"
    )
    broken = files.cert.read_bytes().replace(b"M", b"!")
    files.cert.write_bytes(broken)
    assert refused(files) == f"TLS: {files.cert}: it is no PEM that can be read"


def test_a_damaged_certificate(root: Authority, tmp_path: Path) -> None:
    files = save(tmp_path, *root.issue("localhost"))
    files.cert.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert refused(files).endswith("certificate 1 is damaged")


def test_files_that_cannot_be_read(root: Authority, tmp_path: Path) -> None:
    files = save(tmp_path, *root.issue("localhost"))
    missing = tmp_path / "missing"
    assert refused(Files(missing, files.key)) == f"TLS: cannot read {missing}: No such file or directory"
    assert refused(Files(tmp_path, files.key)) == f"TLS: cannot read {tmp_path}: Is a directory"


def test_an_encrypted_key(root: Authority, tmp_path: Path) -> None:
    files = save(tmp_path, *root.issue("localhost"), password=b"secret")
    assert refused(files) == (
        f"TLS: {files.key}: the key is encrypted: tls_key_password_file must have its password"
    )
    password = tmp_path / "password"
    password.write_bytes(b"wrong\n")
    wrong = refused(files, tls_key_password_file=str(password))
    assert wrong == f"TLS: {files.key}: the password does not decrypt the key"
    password.write_bytes(b"secret\n")
    assert read(files, tls_key_password_file=str(password)).config.certificates


def test_a_key_that_is_encrypted_in_an_old_form(root: Authority, tmp_path: Path) -> None:
    files = save(tmp_path, *root.issue("localhost"))
    files.key.write_text(
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n"
        "-----END RSA PRIVATE KEY-----\n"
    )
    assert "convert it with openssl pkcs8 -topk8" in refused(files)


def test_a_key_of_a_kind_that_cannot_be_used(root: Authority, tmp_path: Path) -> None:
    files = save(tmp_path, *root.issue("localhost", key=ec.generate_private_key(ec.SECP521R1())))
    assert f"TLS: {files.key}: the key is of no kind that can be used: expected RSA" in refused(files)


def test_ciphers_that_do_not_exist_or_do_not_fit(root: Authority, tmp_path: Path) -> None:
    files = save(tmp_path, *root.issue("localhost"))
    text = refused(files, tls_ciphers="RC4-MD5")
    assert "there is no cipher RC4-MD5; expected some of TLS_AES_256_GCM_SHA384, " in text
    ciphers = {"tls_min_version": "1.3", "tls_ciphers": "ECDHE-RSA-AES128-GCM-SHA256"}
    assert refused(files, **ciphers) == "TLS: none of the ciphers is for TLS 1.3"
    one = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256"
    assert read(files, tls_ciphers=one).config.certificates


def test_what_clients_are_checked_against(root: Authority, tmp_path: Path) -> None:
    files = save(tmp_path, *root.issue("localhost"))
    text = refused(files, tls_client_ca=str(files.key))
    assert text == f"TLS: {files.key}: there is no certificate in it, as PEM"
    text = refused(files, tls_client_ca=str(files.cert), tls_client_crl=str(files.cert))
    assert text == f"TLS: {files.cert}: there is no list of revoked certificates in it, as PEM"


# --- what is watched ------------------------------------------------------------------------------------


class Clock:
    """A loop whose time a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.due: list[tuple[float, object, tuple[object, ...]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: object, *args: object) -> asyncio.Handle:
        self.due.append((self.now + delay, callback, args))
        return asyncio.Handle(lambda: None, (), self)  # type: ignore[arg-type]

    def get_debug(self) -> bool:
        return False

    def go_on(self, seconds: float) -> None:
        end = self.now + seconds
        while self.due and min(self.due, key=lambda one: one[0])[0] <= end:
            at, callback, args = self.due.pop(0)
            self.now = at
            callback(*args)  # type: ignore[operator]
        self.now = end


def watched(files: Files, clock: Clock, **options: object) -> Certificates:
    found = read(files, **options)
    found.watch(clock)  # type: ignore[arg-type]
    return found


def test_a_certificate_that_ends_soon_is_named_each_day(
    root: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    files = save(tmp_path, *root.issue("localhost", days=(-1, 20.5)))
    with caplog.at_level(logging.WARNING, "prefork"):
        watched(files, clock)
        text = f"TLS: the certificate {files.cert} (CN=localhost) expires in 20 days"
        assert [record.message for record in caplog.records] == [text]
        clock.go_on(86_000)
        assert len(caplog.records) == 1
        clock.go_on(1000)
        assert len(caplog.records) == 2


def test_one_that_has_time_left_is_not_named(
    root: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = save(tmp_path, *root.issue("localhost", days=(-1, 22)))
    watched(files, Clock())
    assert caplog.records == []


def test_one_that_expires_while_it_is_used_is_an_error(
    root: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    found = watched(save(tmp_path, *root.issue("localhost", days=(-1, 30))), clock)
    ((_, end),) = found.config.certificates
    monkeypatch.setattr("time.time", lambda: end + 1.0)
    clock.go_on(90_000)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.message.endswith("has expired: clients refuse it")


def expired(file: Path) -> str:
    return (
        f"TLS: the list of revoked certificates {file} (CN=Test Root) has expired: "
        "clients with a certificate of that issuer are refused"
    )


def test_a_list_of_revoked_certificates_that_has_expired_is_an_error_each_day(
    root: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    revoked = root.revoke(tmp_path, days=-0.01)
    found = watched(
        save(tmp_path, *root.issue("localhost")),
        clock,
        tls_client_ca=str(root.save(tmp_path)),
        tls_client_crl=str(revoked),
    )
    assert [(one.levelno, one.message) for one in caplog.records] == [(logging.ERROR, expired(revoked))]
    clock.go_on(86_000)
    assert len(caplog.records) == 1
    clock.go_on(1000)
    assert len(caplog.records) == 2
    caplog.clear()
    assert found.reload()
    clock.go_on(certificates.POLL_S)
    assert [one.message for one in caplog.records][1:] == [expired(revoked)]


def test_one_that_expires_while_it_is_used_is_named_then(
    root: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    revoked = root.revoke(tmp_path, days=0.5)
    files = save(tmp_path, *root.issue("localhost"))
    found = watched(files, clock, tls_client_ca=str(root.save(tmp_path)), tls_client_crl=str(revoked))
    ((_, end),) = found.config.revocation_lists
    began, first = end - 43_200, clock.now
    monkeypatch.setattr("time.time", lambda: began + clock.now - first)
    clock.go_on(43_100)
    assert caplog.records == []
    clock.go_on(200)
    assert [one.message for one in caplog.records] == [expired(revoked)]


def test_a_list_that_no_client_is_checked_against_is_not_named(
    root: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files, authority = save(tmp_path, *root.issue("localhost")), str(root.save(tmp_path))
    crl = str(root.revoke(tmp_path, days=-0.01))
    watched(files, Clock(), tls_client_ca=authority, tls_client_crl=crl, tls_client_auth="none")
    assert caplog.records == []


def test_a_change_counts_when_it_has_settled(
    root: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    files = save(tmp_path, *root.issue("localhost"))
    found = watched(files, clock)
    chain, key = root.issue("other")
    files.cert.write_bytes(b"".join(map(pem, chain)))
    clock.go_on(certificates.POLL_S)
    files.key.write_bytes(key_pem(key))
    clock.go_on(certificates.POLL_S)
    ((subject, _),) = found.config.certificates
    assert subject == "CN=localhost"
    clock.go_on(certificates.POLL_S)
    ((subject, _),) = found.config.certificates
    assert subject == "CN=other"
    assert len(caplog.records) == 1


def test_a_change_that_cannot_be_used_is_one_line_and_the_former_stays(
    root: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    files = save(tmp_path, *root.issue("localhost"))
    found = watched(files, clock)
    os.unlink(files.key)
    clock.go_on(10 * certificates.POLL_S)
    (record,) = caplog.records
    missing = f"cannot read {files.key}: No such file or directory"
    assert record.message == f"TLS: {missing}; the former certificates stay"
    ((subject, _),) = found.config.certificates
    assert subject == "CN=localhost"


def test_the_keys_of_tickets_are_rotated_each_half_day(root: Authority, tmp_path: Path) -> None:
    clock = Clock()
    found = watched(save(tmp_path, *root.issue("localhost")), clock)
    rotated: list[float] = []
    found.config = SimpleNamespace(  # type: ignore[assignment]
        certificates=found.config.certificates, rotate_tickets=lambda: rotated.append(clock.now)
    )
    clock.go_on(certificates.ROTATION_S - certificates.POLL_S)
    assert rotated == []
    clock.go_on(2 * certificates.ROTATION_S)
    first, second = rotated
    assert second - first == certificates.ROTATION_S


def test_it_is_watched_once_and_no_more_after_the_end(root: Authority, tmp_path: Path) -> None:
    clock = Clock()
    found = watched(save(tmp_path, *root.issue("localhost")), clock)
    found.watch(clock)  # type: ignore[arg-type]
    assert len(clock.due) == 1
    found.close()
