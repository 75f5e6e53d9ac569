from __future__ import annotations

import pytest

from prefork.config.sources import gather
from prefork.errors import OptionError


def said(config=None, environment=(), **flags):
    return {name: value for name, (value, _) in gather(config, dict(environment), flags).items()}


def refusal(*args, **flags):
    with pytest.raises(OptionError) as caught:
        said(*args, **flags)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def toml(tmp_path):
    def write(content):
        path = tmp_path / "prefork.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


def test_nothing_said_is_nothing():
    assert said(max_clients=None) == {}


def test_the_command_line_is_over_the_environment_and_that_over_the_file(toml):
    config = toml("max_clients = 1\nmin_spare = 1\nstart = 1\n")
    environment = {"PREFORK_MAX_CLIENTS": "2", "PREFORK_MIN_SPARE": "2"}
    assert said(config, environment, max_clients="3") == {
        "max_clients": 3,
        "min_spare_servers": 2,
        "start_servers": 1,
    }


def test_a_file_may_have_a_table_of_its_own_among_others(toml):
    config = toml('[other]\nthing = 1\n[prefork]\nmax-body = "10m"\nkeep_alive = false\n')
    assert said(config) == {"max_body": 10 << 20, "keep_alive": False}


def test_empty_and_unknown_variables_say_nothing():
    assert said(environment={"PREFORK_GLUE": "", "PREFORK_PORT": "tcp://10.0.0.1:80"}) == {}


def test_workers_are_the_four_numbers_of_the_pool():
    assert said(workers="4") == {
        "start_servers": 4,
        "min_spare_servers": 4,
        "max_spare_servers": 4,
        "max_clients": 4,
    }


def test_workers_on_the_command_line_are_over_a_pool_in_the_file(toml):
    assert said(toml("min_spare = 2\nmax_clients = 9\n"), workers="4")["max_clients"] == 4


def test_one_speaker_cannot_say_workers_and_a_number_of_the_pool():
    assert refusal(workers="4", max_clients="9") == "--workers sets --max-clients as well: say one of them"


@pytest.mark.parametrize(
    ("bind", "address", "port"), [("localhost:80", "localhost", 80), ("unix:/run/s", "/run/s", None)]
)
def test_bind_is_address_and_port_and_drops_the_domain(bind, address, port):
    found = said(bind=bind)
    assert (found["address"], found["port"], found["domain"]) == (address, port, None)


def test_of_several_addresses_none_is_bound(toml):
    config = toml('bind = ["localhost:80", "8080"]\n')
    assert refusal(config).startswith(f"{config}: bind: expected one address to listen on (")
    assert refusal(bind=("localhost:80", "8080")).endswith("got localhost:80 and 8080")


def test_a_wrong_value_is_refused_under_the_name_its_speaker_knows(toml):
    config = toml('max-body = "x"\n')
    assert refusal(max_body="x").startswith("--max-body: expected bytes")
    assert refusal(None, {"PREFORK_MAX_BODY": "x"}).startswith("PREFORK_MAX_BODY: expected bytes")
    assert refusal(config).startswith(f"{config}: max-body: expected bytes")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("max_client", "; did you mean 'max_clients'?"),
        ("min_spare_servers", "; here it is 'min_spare'"),
        ("handlers", "; it can be said in code only"),
        ("host", "; here it is 'bind'"),
        ("port", "; here it is 'bind'"),
        ("zzz", ""),
    ],
)
def test_an_unknown_name_in_the_file_is_refused(toml, name, hint):
    config = toml(f"{name} = 1\n")
    assert refusal(config) == f"{config}: unknown option {name!r}{hint}"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("max_clients", "is not TOML"),
        (b"a = '\xff'", "is not TOML"),
        ("prefork = 3", "expected a table"),
    ],
)
def test_a_file_that_is_no_settings_is_refused(toml, content, complaint):
    assert complaint in refusal(toml(content))


def test_a_missing_file_is_refused():
    assert refusal("/no/such/file.toml") == "/no/such/file.toml cannot be read: No such file or directory"
