"""The TOML that is written."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from prefork.config.peers.document import document
from prefork.config.peers.gunicorn import GUNICORN
from prefork.config.peers.outcome import Found, outcomes
from prefork.config.written import toml

COMMAND = "prefork serve shop:app --config prefork.toml"


def written(given: dict[str, Any], **more: Any) -> str:
    found = Found(GUNICORN, "gunicorn.conf.py", given=given, **more)
    return document(found, outcomes(found, GUNICORN.find, lambda _key, _value: None), COMMAND)


def test_each_setting_is_there_with_what_has_become_of_it() -> None:
    text = written(
        {"bind": "0.0.0.0:80", "workers": 4, "timeout": 20, "preload_app": True, "daemon": True},
        unknown=("newest",),
    )
    assert tomllib.loads(text) == {"prefork": {"bind": ["0.0.0.0:80"], "workers": 4, "request_timeout": 20}}
    assert COMMAND in text
    needless, _, impossible = text.partition("# Not needed:")[2].partition("# Not possible")
    assert "preload_app = true: the application is loaded once" in needless
    assert "daemon = true: use a service manager" in impossible
    assert "newest: gunicorn" in impossible


def test_defaults_that_differ_are_there() -> None:
    text = written({})
    assert tomllib.loads(text) == {"prefork": {"workers": "${WEB_CONCURRENCY:-1}"}}
    assert "# request_timeout = 30" in text
    assert "# request_timeout" not in written({"timeout": 20})


def test_an_option_that_two_settings_become_is_there_once() -> None:
    text = written({"limit_request_line": 100, "limit_request_field_size": 9000})
    assert tomllib.loads(text)["prefork"]["max_line"] == 9000
    assert "limit_request_line = 100" in text


def test_a_text_has_no_variables() -> None:
    text = written({"access_log_format": "${HOME} %(h)s", "workers": 1})
    assert tomllib.loads(text)["prefork"]["access_log_format"] == "$${HOME} %(h)s"


def test_secrets_are_not_written() -> None:
    text = written({"raw_env": ["PASSWORD=swordfish"]})
    assert "raw_env" in text
    assert "swordfish" not in text


def test_a_value_with_a_line_break_stays_in_its_comment() -> None:
    text = written({"errorlog": "a\nworkers = 99", "post_fork": eval("lambda server, worker: None")})
    assert tomllib.loads(text) == {"prefork": {"workers": "${WEB_CONCURRENCY:-1}"}}


@pytest.mark.parametrize(
    "value",
    [
        True,
        -3,
        1.5,
        'quote " back \\ line \n tab \t del \x7f null \0 é',
        ["a", 1],
        {"a b": {"c.d": [1, {"e": False}]}},
    ],
)
def test_values_are_toml(value: object) -> None:
    assert tomllib.loads(f"value = {toml(value)}")["value"] == value


@pytest.mark.parametrize("value", [None, object(), float("nan"), float("inf"), print])
def test_what_toml_has_not_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="TOML has no"):
        toml(value)
