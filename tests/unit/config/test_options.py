from __future__ import annotations

import dataclasses
import socket

import pytest

from prefork.config.checked import EXTERNAL, changed, check, options_of
from prefork.config.options import AppOptions, PreForkOptions, ServeOptions, ServerOptions, ShortForms
from prefork.errors import OptionError


def error(kind, **values):
    with pytest.raises(OptionError) as caught:
        check(kind, values)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_defaults_are_those_of_the_poe_component():
    pool = check(PreForkOptions, {})
    assert (pool.min_spare_servers, pool.max_spare_servers) == (5, 10)
    assert (pool.max_clients, pool.start_servers, pool.max_requests_per_child) == (256, 10, 0)
    assert (pool.check_spares_interval, pool.prefork_interval, pool.max_retries) == (1.0, 5.0, 5)
    assert pool.ipc_glue is None
    assert pool.port is None


@pytest.mark.parametrize("kind", [ServerOptions, PreForkOptions, ServeOptions, ShortForms])
def test_every_default_is_accepted_by_its_reader(kind):
    for name, option in options_of(kind).items():
        assert option.read(option.default, name) == option.default


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("max_clients", "64", 64),
        ("max_clients", 64, 64),
        ("max_streams", None, None),
        ("max_streams", "200", 200),
        ("port", 0, 0),
        ("max_body", "10m", 10 << 20),
        ("max_body", "1G", 1 << 30),
        ("max_body", "7", 7),
        ("spool_above", 0, 0),
        ("header_timeout", "0.5", 0.5),
        ("header_timeout", 3, 3.0),
        ("keep_alive", "off", False),
        ("keep_alive", "YES", True),
        ("underscores", "Reject", "reject"),
        ("domain", socket.AF_INET6, "inet6"),
        ("domain", "unix", "unix"),
        ("ipc_glue", 1234, "1234"),
        ("ipc_glue", "uniq", "uniq"),
        ("headers", {"Server": "x"}, (("Server", "x"),)),
        ("headers", [("A", "1"), ("A", "2")], (("A", "1"), ("A", "2"))),
        ("handlers", [{"dir": "/"}], ({"dir": "/"},)),
        ("fork_handlers", {"PAGES": "forked"}, {"PAGES": "forked"}),
        ("log_handler", ("LOG", "got_log"), ("LOG", "got_log")),
        ("log_handler", {"session": "LOG", "event": "got_log"}, ("LOG", "got_log")),
        ("log_handler", print, print),
        ("log_handler", None, None),
    ],
)
def test_a_value_is_read(name, given, value):
    assert getattr(check(PreForkOptions, {name: given}), name) == value


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("max_clients", 0),
        ("max_streams", 0),
        ("max_streams", 10_001),
        ("max_clients", "many"),
        ("max_clients", True),
        ("max_clients", 1.5),
        ("max_clients", "9" * 5000),
        ("port", 65536),
        ("port", -1),
        ("max_body", "10x"),
        ("max_body", -1),
        ("max_body", "9999999999g"),
        ("header_timeout", 0),
        ("header_timeout", "soon"),
        ("header_timeout", "nan"),
        ("header_timeout", float("inf")),
        ("header_timeout", 10**400),
        ("header_timeout", True),
        ("keep_alive", "perhaps"),
        ("keep_alive", None),
        ("underscores", "keep"),
        ("domain", 9999),
        ("ipc_glue", "a/b"),
        ("ipc_glue", ""),
        ("ipc_glue", "x" * 65),
        ("spool_dir", "/no/such/directory"),
        ("alias", ""),
        ("hostname", "a\0b"),
        ("headers", {"Bad Name": "x"}),
        ("headers", {"Name": "two\r\nlines"}),
        ("headers", {"Name": 3}),
        ("headers", 3),
        ("headers", ["abc"]),
        ("handlers", {"dir": "/"}),
        ("handlers", "/"),
        ("fork_handlers", ["forked"]),
        ("fork_handlers", {"PAGES": print}),
        ("log_handler", "LOG"),
        ("log_handler", {"session": "LOG"}),
        ("log_handler", ("LOG", 3)),
    ],
)
def test_an_invalid_value_is_reported_with_the_name_of_its_option(name, given):
    assert error(PreForkOptions, **{name: given}).startswith(f"option {name}: expected ")


def test_an_error_states_what_was_expected_and_what_was_given():
    message = error(PreForkOptions, max_clients="many")
    assert message == "option max_clients: expected a whole number from 1 to 65535, or auto, got 'many'"


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        (PreForkOptions, "max_client", "did you mean 'max_clients'?"),
        (PreForkOptions, "min_spare", "in code it is 'min_spare_servers'"),
        (ServerOptions, "max_clients", "needs a PreForkServer"),
        (ServerOptions, "HANDLERS", "did you mean 'handlers'?"),
        (ServerOptions, "LOG2HANDLER", "here it is 'log2_handler'"),
        (ServerOptions, "MINSPARESERVERS", "here it is 'min_spare_servers'"),
        (PreForkOptions, "MAXREQUESTPERCHILD", "here it is 'max_requests_per_child'"),
        (PreForkOptions, "SSLKEYCERT", "here it is 'ssl_key_cert'"),
    ],
)
def test_an_unknown_option_is_an_error_with_a_hint(kind, name, hint):
    assert hint in error(kind, **{name: 1})


def test_a_name_like_no_other_is_an_error_without_a_hint():
    assert error(ServerOptions, zzz=1) == "unknown option 'zzz'"


def test_a_maximum_of_spares_below_the_minimum_becomes_the_minimum_plus_one(caplog):
    pool = check(PreForkOptions, {"min_spare_servers": 20})
    assert pool.max_spare_servers == 21
    assert "max_spare_servers 10 is below min_spare_servers 20" in caplog.text


def test_a_maximum_of_spares_may_equal_the_minimum(caplog):
    assert check(PreForkOptions, {"min_spare_servers": 4, "max_spare_servers": 4}).max_spare_servers == 4
    assert not caplog.records


def test_a_pool_starts_with_at_most_max_clients_workers():
    assert check(PreForkOptions, {"max_clients": 3}).start_servers == 3


def test_changed_keeps_the_other_options():
    before = check(PreForkOptions, {"port": 80, "max_clients": 7})
    after = changed(before, {"max_clients": "9"})
    assert (after.port, after.max_clients, before.max_clients) == (80, 9, 7)
    with pytest.raises(OptionError, match="unknown option"):
        changed(before, {"max_client": 1})


def test_options_are_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        check(ServerOptions, {}).port = 1  # type: ignore[misc]


def test_a_dictionary_is_copied():
    given = {"PAGES": "forked"}
    pool = check(PreForkOptions, {"fork_handlers": given})
    given["PAGES"] = "changed"
    assert pool.fork_handlers == {"PAGES": "forked"}


def test_an_external_option_has_a_key_a_flag_and_a_variable():
    option = EXTERNAL["min_spare"]
    assert (option.name, option.key, option.flag, option.variable) == (
        "min_spare_servers",
        "min_spare",
        "--min-spare",
        "PREFORK_MIN_SPARE",
    )
    assert {
        "bind",
        "workers",
        "min_spare",
        "max_spare",
        "max_clients",
        "start",
        "max_requests",
        "glue",
    } <= set(EXTERNAL)


def test_an_option_of_code_has_no_flag():
    assert not {"handlers", "headers", "log_handler", "port", "address", "alias"} & set(EXTERNAL)


def test_every_option_has_a_meaning_in_sentences():
    for kind in (PreForkOptions, ServeOptions, ShortForms):
        assert all(option.meaning.endswith(".") for option in options_of(kind).values())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("max_body", "1g"),
        ("spool_above", "256k"),
        ("body_min_rate", "240"),
        ("keep_alive", "on"),
        ("debug", "off"),
        ("keep_alive_timeout", "75"),
        ("max_requests_per_child", "0"),
        ("alias", "HTTPD"),
        ("hostname", "the requested host"),
        ("fork_handlers", ""),
    ],
)
def test_a_default_is_shown_as_a_user_writes_it(name, text):
    assert options_of(PreForkOptions)[name].default_text == text


@pytest.mark.parametrize(("given", "shown"), [(("health",), "'health'"), (("/a", "b"), "('/a', 'b')")])
def test_one_value_of_an_option_that_can_be_repeated_is_shown_as_it_was_given(given, shown):
    assert error(AppOptions, warm=given).endswith(f"got {shown}")
