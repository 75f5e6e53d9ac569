"""Session tickets and the keys that they are made with."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path

import pytest

from prefork.config.checked import check
from prefork.config.options import ServerOptions
from prefork.server.certificates import ROTATION_S, Certificates
from support.certificates import Authority, save
from support.engine import LocalEngine, RunEngine
from support.tls_client import Client, Told

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def read(directory: Path) -> Certificates:
    files = save(directory, *Authority().issue("localhost"))
    return Certificates(check(ServerOptions, {"tls_cert": str(files.cert), "tls_key": str(files.key)}))


def talk(engine: LocalEngine, client: Client, session: ssl.SSLSession | None = None) -> Told:
    """One connection, from another thread while the engine takes its turns in this one."""
    told: list[Told] = []
    client.port = engine.socket.getsockname()[1]
    thread = threading.Thread(target=lambda: told.append(client.ask(session=session)))
    thread.start()
    engine.turn_until(lambda: not thread.is_alive(), "the end of the client")
    return told[0]


def respond(_request: object, response: object) -> None:
    response.content = "{}"  # type: ignore[attr-defined]
    response.done()  # type: ignore[attr-defined]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_ticket_is_good_for_one_rotation_of_the_keys(
    version: ssl.TLSVersion, tmp_path: Path, run_engine: RunEngine
) -> None:
    client = Client(0, version=version)
    config = read(tmp_path).config
    engine = run_engine(respond, tls=config)
    ticket = talk(engine, client).session
    assert talk(engine, client, ticket).resumed
    config.rotate_tickets()
    assert talk(engine, client, ticket).resumed
    config.rotate_tickets()
    assert not talk(engine, client, ticket).resumed
    config.rotate_tickets()
    again = talk(engine, client, ticket)
    assert not again.resumed
    assert talk(engine, client, again.session).resumed


@pytest.mark.parametrize("version", VERSIONS)
def test_another_engine_with_the_same_config_resumes(
    version: ssl.TLSVersion, tmp_path: Path, run_engine: RunEngine
) -> None:
    client = Client(0, version=version)
    config = read(tmp_path).config
    ticket = talk(run_engine(respond, tls=config), client).session
    assert talk(run_engine(respond, tls=config), client, ticket).resumed
    # Another server has other keys.
    (tmp_path / "other").mkdir()
    other = read(tmp_path / "other").config
    assert not talk(run_engine(respond, tls=other), client, ticket).resumed


def test_a_ticket_lasts_as_long_as_its_key(tmp_path: Path, run_engine: RunEngine) -> None:
    ticket = talk(run_engine(respond, tls=read(tmp_path).config), Client(0)).session
    assert ticket is not None
    assert ticket.has_ticket
    assert ticket.ticket_lifetime_hint == ROTATION_S
