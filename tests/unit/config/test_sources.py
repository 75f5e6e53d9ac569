from __future__ import annotations

import pytest

from prefork.config.sources import gather
from prefork.errors import OptionError


def given(config=None, environment=(), **flags):
    return {name: value for name, (value, _) in gather(config, dict(environment), flags).items()}


def error(*args, **flags):
    with pytest.raises(OptionError) as caught:
        given(*args, **flags)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def toml(tmp_path):
    def write(content):
        path = tmp_path / "prefork.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


def test_unset_flags_are_not_given():
    assert given(max_clients=None) == {}


def test_the_command_line_overrides_the_environment_and_that_the_file(toml):
    config = toml("max_clients = 1\nmin_spare = 1\nstart = 1\n")
    environment = {"PREFORK_MAX_CLIENTS": "2", "PREFORK_MIN_SPARE": "2"}
    assert given(config, environment, max_clients="3") == {
        "max_clients": 3,
        "min_spare_servers": 2,
        "start_servers": 1,
    }


def test_a_file_may_have_a_table_for_the_options_among_others(toml):
    config = toml('[other]\nthing = 1\n[prefork]\nmax-body = "10m"\nkeep_alive = false\n')
    assert given(config) == {"max_body": 10 << 20, "keep_alive": False}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PREFORK_GLUE", ""),
        ("PREFORK_CONFIG", "prefork.toml"),
        ("PREFORK_PORT", "tcp://10.0.0.1:80"),
        ("PREFORK_PORT_80_TCP_PORT", "80"),
        ("PREFORK_SERVICE_HOST", "10.0.0.1"),
        ("PREFORK_WEB_SERVICE_PORT_HTTP", "80"),
        ("PREFORK_WEB_PORT", "tcp://10.0.0.1:80"),
        ("PREFORK_SOMETHING", "of the application"),
    ],
)
def test_empty_and_unknown_variables_are_ignored(caplog, variable, value):
    assert given(environment={variable: value}) == {}
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("PREFORK_WORKRES", "did you mean PREFORK_WORKERS?"),
        ("PREFORK_MAXBODY", "did you mean PREFORK_MAX_BODY?"),
        ("PREFORK_PORT", "use PREFORK_BIND"),
        ("PREFORK_TIMEOUT", "use PREFORK_REQUEST_TIMEOUT"),
        ("PREFORK_START_SERVERS", "use PREFORK_START"),
        ("PREFORK_PROFIEL", "did you mean PREFORK_PROFILE?"),
    ],
)
def test_a_variable_that_looks_like_an_option_is_named(caplog, variable, hint):
    assert given(environment={variable: "8000"}) == {}
    assert f"{variable} is no option and is ignored; {hint}" in caplog.text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[tool.prefork]\nworkers = 2", "expected a table [prefork] with the options, found [tool]; rename"),
        ("[server]\nworkers = 2", "expected a table [prefork] with the options, found [server]"),
        ("workers = 2\n[database]\na = 1", "expected a table [prefork] with the options, found [database]"),
        ("workers = 2\n[prefork]\nbind = 80", "workers stands outside of the table [prefork]; move it there"),
        ("[[prefork]]\nworkers = 2", "expected a table [prefork], got [{'workers': 2}]"),
        ('accesslog = "-"', "unknown option 'accesslog'; use 'access_log'"),
        ("timeout = 30", "unknown option 'timeout'; use 'request_timeout'"),
        ('worker_class = "x"', "unknown option 'worker_class'; the interface is detected; for threads use"),
        ("limit-request-line = 4", "unknown option 'limit_request_line'; use 'max_line'"),
    ],
)
def test_a_file_without_the_table_or_with_names_of_others_says_so(toml, content, reason):
    assert reason in error(toml(content))


@pytest.mark.parametrize("content", ["import os\n", 'bind = "0.0.0.0:80"\n', ""])
def test_a_configuration_in_python_is_no_file_of_options(tmp_path, content):
    path = tmp_path / "gunicorn.conf.py"
    path.write_text(content)
    for place in (str(path), f"file:{path}", "python:gunicorn_conf"):
        assert error(place) == (
            f"{place} is Python, as gunicorn has it; `prefork import-config {place}` converts it to TOML"
        )


def test_a_configuration_in_python_that_is_not_there_cannot_be_read():
    assert error("nowhere/gunicorn.conf.py").startswith("nowhere/gunicorn.conf.py cannot be read: No such")


def test_a_table_for_an_option_is_no_table_of_another_program(toml, tmp_path):
    assert given(toml(f'[static]\n"/static" = "{tmp_path}"')) == {"static": (("/static", str(tmp_path)),)}


def test_workers_sets_the_four_numbers_of_the_pool():
    assert given(workers="4") == {
        "start_servers": 4,
        "min_spare_servers": 4,
        "max_spare_servers": 4,
        "max_clients": 4,
    }


def test_workers_on_the_command_line_overrides_the_numbers_in_the_file(toml):
    assert given(toml("min_spare = 2\nmax_clients = 9\n"), workers="4")["max_clients"] == 4


def test_one_source_cannot_set_workers_and_a_number_of_the_pool():
    assert error(workers="4", max_clients="9") == "--workers sets --max-clients as well: use one of them"


def test_bind_sets_the_listeners_and_unsets_what_the_code_says():
    found = given(bind=("localhost:80", "unix:/run/s"))
    assert [str(one) for one in found.pop("listeners")] == ["localhost:80", "unix:/run/s"]
    assert found == {"address": None, "port": None, "domain": None}


def test_each_source_may_have_several_addresses_and_the_last_source_counts(toml):
    config = toml('bind = ["localhost:80", 8080, { address = "unix:/a,b", mode = "600" }]\n')
    assert [str(one) for one in given(config)["listeners"]] == ["localhost:80", ":8080", "unix:/a,b"]
    environment = {"PREFORK_BIND": "localhost:81,tls unix:@x"}
    assert [str(one) for one in given(config, environment)["listeners"]] == ["localhost:81", "unix:@x"]
    assert [str(one) for one in given(config, environment, bind=("82",))["listeners"]] == [":82"]


def test_an_invalid_value_is_reported_by_the_name_in_its_source(toml):
    config = toml('max-body = "x"\n')
    assert error(max_body="x").startswith("--max-body: expected bytes")
    assert error(None, {"PREFORK_MAX_BODY": "x"}).startswith("PREFORK_MAX_BODY: expected bytes")
    assert error(config).startswith(f"{config}:1: max-body: expected bytes")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("max_client", "; did you mean 'max_clients'?"),
        ("min_spare_servers", "; use 'min_spare'"),
        ("handlers", "; only PreForkServer(...) takes it"),
        ("host", "; use 'bind'"),
        ("port", "; use 'bind'"),
        ("zzz", ""),
    ],
)
def test_an_unknown_name_in_the_file_is_an_error(toml, name, hint):
    config = toml(f"{name} = 1\n")
    assert error(config) == f"{config}:1: unknown option {name!r}{hint}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("max_clients", "is not TOML"),
        (b"a = '\xff'", "is not TOML"),
        ("prefork = 3", "expected a table"),
    ],
)
def test_a_file_without_settings_is_an_error(toml, content, message):
    assert message in error(toml(content))


def test_a_missing_file_is_an_error():
    assert error("/no/such/file.toml") == "/no/such/file.toml cannot be read: No such file or directory"
