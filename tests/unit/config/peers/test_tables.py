"""The tables of settings are whole, and name only what is there."""

from __future__ import annotations

import re
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from prefork.cli.serve import SHORT
from prefork.config.checked import EXTERNAL
from prefork.config.peers import uwsgi
from prefork.config.peers.gunicorn import GUNICORN
from prefork.config.peers.setting import Peer, Setting
from prefork.config.peers.uvicorn import UVICORN
from prefork.config.peers.uwsgi import UWSGI
from prefork.config.peers.uwsgi_names import NAMES

PEERS = (GUNICORN, UVICORN, UWSGI)
EVERY = [(peer, setting) for peer in PEERS for setting in peer.settings.values()]
OURS = {option.flag for option in EXTERNAL.values()} | {"--config", "--env-file", *SHORT.values()}
OURS |= {f"--no-{option.flag[2:]}" for option in EXTERNAL.values() if isinstance(option.default, bool)}

ROOT = Path(__file__).parents[4]

with_sources = pytest.mark.skipif(
    not (ROOT / "generate").is_dir(), reason="the tests run without the sources"
)
every_setting = pytest.mark.parametrize(
    ("peer", "setting"), EVERY, ids=[f"{peer.name}-{setting.name}" for peer, setting in EVERY]
)


@every_setting
def test_a_setting_becomes_options_that_exist(peer: Peer, setting: Setting) -> None:
    assert peer.settings[setting.name] is setting
    assert set(setting.to) <= EXTERNAL.keys() | {"env_file"}


@every_setting
def test_what_is_said_of_a_setting_names_flags_that_exist(peer: Peer, setting: Setting) -> None:
    named = set(re.findall(r"--[a-z0-9][a-z0-9-]*", f"{setting.note} {setting.hint}"))
    theirs = {flag for one in peer.settings.values() for flag in one.flags} | {"--show-config"}
    commands = {"--version"}
    assert named - commands <= OURS | theirs


def test_what_defaults_ask_for_are_options_and_settings() -> None:
    for peer in PEERS:
        for one in peer.implied:
            assert EXTERNAL[one.key].read(one.value, one.key) is not None
            assert {one.setting, *one.unless} <= peer.settings.keys()


@with_sources
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_the_table_has_every_setting_of_the_server_that_is_installed(peer: Peer) -> None:
    from generate.from_others import installed, missing

    try:
        there = installed(peer)
    except ImportError as absent:
        pytest.skip(str(absent))
    assert len(there) > 40
    assert missing(peer) == set()


@with_sources
@pytest.mark.parametrize("peer", [GUNICORN, UVICORN], ids=lambda peer: peer.name)
def test_the_table_has_nothing_that_is_gone(peer: Peer) -> None:
    from generate.from_others import installed

    pytest.importorskip(peer.name)
    there = installed(peer)
    assert peer.settings.keys() == there.keys()
    for name, setting in peer.settings.items():
        assert {name, *setting.flags} == there[name]


@pytest.mark.parametrize("peer", [GUNICORN, UVICORN], ids=lambda peer: peer.name)
def test_the_table_is_of_the_version_that_is_installed(peer: Peer) -> None:
    assert peer.version == pytest.importorskip(peer.name).__version__


def test_each_option_of_uwsgi_has_a_meaning_or_a_reason() -> None:
    assert [name for name in uwsgi.TAKES if uwsgi.find(name) is None] == []
    assert [name for name, count in Counter(NAMES).items() if count > 1] == []
    assert uwsgi.find("no-such-option") is None


def test_each_reason_is_of_an_option_of_uwsgi() -> None:
    patterns = [
        pattern
        for reasons in (uwsgi.NEEDLESS, uwsgi.IMPOSSIBLE)
        for text in reasons.values()
        for pattern in text.split()
    ]
    assert [one for one in patterns if not any(fnmatchcase(name, one) for name in uwsgi.TAKES)] == []
    assert [one for one, count in Counter(patterns).items() if count > 1] == []
    assert set(uwsgi.ALIASES.values()) <= UWSGI.settings.keys()


def test_reasons_of_uwsgi_name_flags_that_exist() -> None:
    texts = " ".join([*uwsgi.NEEDLESS, *uwsgi.IMPOSSIBLE])
    assert set(re.findall(r"--[a-z0-9][a-z0-9-]*", texts)) <= OURS | {"--show-config"}


@with_sources
def test_the_page_of_uwsgi_has_every_option() -> None:
    page = (ROOT / "docs" / "from-uwsgi.md").read_text()
    assert set(uwsgi.TAKES) <= set(re.findall(r"`([a-z0-9_-]+)`", page))
