"""The JSON Schema, the template and what writes values, against the options."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from prefork.config.checked import EXTERNAL
from prefork.config.env_file import read
from prefork.config.option import Option
from prefork.config.schema import schema
from prefork.config.sources import Sources, gather
from prefork.config.template import example, template
from prefork.config.values import TrustedProxies
from prefork.config.variables import expanded
from prefork.config.written import plain, toml

OPTIONS = pytest.mark.parametrize("option", EXTERNAL.values(), ids=lambda option: str(option.key))
SCHEMA = schema()
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)


def is_valid(document: dict[str, Any]) -> bool:
    return bool(VALIDATOR.is_valid(document))


def test_the_schema_is_one_in_the_dialects_that_editors_know() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.Draft4Validator.check_schema({**SCHEMA, "$schema": "http://json-schema.org/draft-04/schema#"})


def test_it_has_each_option_with_its_meaning_and_no_other() -> None:
    options = SCHEMA["definitions"]["options"]["properties"]
    assert options.keys() == EXTERNAL.keys()
    for key, option in EXTERNAL.items():
        assert options[key]["description"].split()[:2] == option.meaning.split()[:2]
    assert options["workers"]["description"].endswith("Sets start, min_spare, max_spare and max_clients.")
    assert SCHEMA["properties"].keys() == EXTERNAL.keys() | {"profile", "prefork"}


@OPTIONS
def test_a_default_and_an_example_are_valid_wherever_options_stand(option: Option) -> None:
    default = plain(option, option.default)
    for value in (example(option), *([] if default is None else [default])):
        options = {str(option.key): value}
        for document in (options, {"prefork": options}, {"profile": {"dev": options}}):
            assert is_valid(document), document
        assert is_valid({str(option.key).replace("_", "-"): value})


@OPTIONS
def test_what_no_option_takes_is_invalid(option: Option) -> None:
    wrong: list[object] = [None, [[[]]], -1.5]
    if not (option.reader.metavar == "CONFIG_FILE" or "=" in option.reader.metavar):
        wrong.append({"x": "y"})
    assert [value for value in wrong if is_valid({str(option.key): value})] == []
    assert [value for value in wrong if is_valid({"prefork": {str(option.key): value}})] == []


@pytest.mark.parametrize(
    ("document", "valid"),
    [
        ({"max_body": "10m"}, True),
        ({"max_body": "10x"}, False),
        ({"max_body": -1}, False),
        ({"max_body": "${SIZE}"}, True),
        ({"max_head": 5}, False),
        ({"workers": 4}, True),
        ({"workers": "4"}, True),
        ({"workers": 0}, False),
        ({"workers": True}, False),
        ({"keep_alive": "off"}, True),
        ({"keep_alive": "perhaps"}, False),
        ({"loop": "uvloop"}, True),
        ({"loop": "trio"}, False),
        ({"tls_min_version": 1.3}, True),
        ({"tls_min_version": 1.1}, False),
        ({"bind": 8000}, True),
        ({"bind": ["[::]:443,tls", {"address": "unix:/a,b", "mode": "660"}]}, True),
        ({"bind": [{"mode": "660"}]}, False),
        ({"bind": [{"address": "x:1", "mod": "660"}]}, False),
        ({"static": {"/static": "public"}}, True),
        ({"static": "/static=public"}, True),
        ({"static": {"/static": 3}}, False),
        ({"wokers": 4}, False),
        ({"prefork": {"wokers": 4}}, False),
        ({"profile": {"dev": {"wokers": 4}}}, False),
        ({"profile": {"dev": 3}}, False),
        ({"prefork": {"workers": 4}, "of_another": {"x": 1}}, True),
    ],
)
def test_documents(document: dict[str, Any], valid: bool) -> None:
    assert is_valid(document) is valid


@pytest.mark.parametrize(
    "document",
    [
        {"max_body": "10m", "workers": 4, "bind": ["127.0.0.1:0", "unix:@x,tls"]},
        {"prefork": {"umask": "027", "canary": "10%", "canary_window": 2.5, "max_clients": "auto"}},
        {"tls_min_version": 1.3, "worker_start": "a.b:c", "sandbox_connect": [5432, "any"], "glue": "shop"},
    ],
)
def test_what_is_valid_is_accepted(tmp_path: Path, document: dict[str, Any]) -> None:
    path = tmp_path / "prefork.toml"
    path.write_text("\n".join(f"{name} = {toml(value)}" for name, value in document.items()))
    assert is_valid(tomllib.loads(path.read_text()))
    assert gather(str(path), {}, {})


# Values


@OPTIONS
def test_a_default_that_is_written_is_read_as_the_same(option: Option) -> None:
    written = plain(option, option.default)
    if written is None or isinstance(option.default, TrustedProxies):
        return  # no text is read as the default of `trusted_proxies`, which has rules of its own
    document = tomllib.loads(f"value = {toml(written)}")
    assert option.read(expanded(document["value"], {}), "here") == option.default


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bind", "0.0.0.0:443,tls"),
        ("bind", "[::1]:80,backlog=5,reuse_port,proxy=off"),
        ("bind", [{"address": "unix:/a,b", "mode": "0660", "user": "root"}, "unix:@x", 81]),
        ("statsd", "127.0.0.1:8125"),
        ("umask", "027"),
        ("umask", 0o22),
        ("max_body", "10m"),
        ("max_body", 1001),
        ("max_clients", "auto"),
        ("canary", "12.5%"),
        ("header_timeout", 2.5),
        ("trusted_proxies", ["10.0.0.0/8", "unix"]),
        ("static", {"/a": "-", "/b c": "-"}),
        ("static_cache", "/a/*=immutable, *.js=30d"),
        ("glue", "shop"),
        ("access_log_format", '%(h)s "${x}" \\ \x7f \u00e9'),
        ("tls_ciphers", "A:B"),
        ("worker_start", "a.b:c"),
        ("log_config", {"version": 1, "root": {"level": "INFO"}}),
        ("keep_alive", False),
        ("warm", "/a,/b"),
    ],
)
def test_a_value_that_is_written_is_read_as_the_same(key: str, value: object) -> None:
    option = EXTERNAL[key]
    read = option.read(value, "here")
    document = tomllib.loads(f"value = {toml(plain(option, read))}")
    assert option.read(expanded(document["value"], {}), "here") == read
    assert is_valid({key: document["value"]})


def test_a_function_is_written_by_its_place() -> None:
    assert plain(EXTERNAL["worker_start"], json.loads) == "json:loads"


# The template


def test_the_template_has_every_option_as_a_comment_that_is_valid() -> None:
    text = template({})
    assert text.startswith("#:schema ./prefork.schema.json\n")
    assert tomllib.loads(text) == {}
    whole = tomllib.loads(re.sub(r"^# (?=[a-z0-9_]+ = )", "", text, flags=re.MULTILINE))
    assert whole.keys() == EXTERNAL.keys()
    assert is_valid(whole)
    assert max(map(len, text.splitlines())) <= 160


def test_what_is_given_is_no_comment(tmp_path: Path) -> None:
    path = tmp_path / "prefork.toml"
    flags = {"bind": ("0.0.0.0:80,tls", "81"), "workers": "4", "max_body": "10m", "config": "none"}
    given = Sources(flags, {"PREFORK_GLUE": "shop"}).gather()
    path.write_text(template(given))
    document = tomllib.loads(path.read_text())
    assert document == {"bind": ["0.0.0.0:80,tls", ":81"], "workers": 4, "max_body": "10m", "glue": "shop"}
    again = gather(str(path), {}, {})
    assert {name: one.value for name, one in again.items()} == {
        name: one.value for name, one in given.items()
    }


# The documentation

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"
in_the_sources = pytest.mark.skipif(not PAGE.exists(), reason="installed without its documents")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@in_the_sources
def test_the_files_of_the_documentation_are_valid_and_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("public").mkdir()
    files = blocks("toml")
    assert len(files) > 2
    for text in files:
        Path("prefork.toml").write_text(text)
        assert is_valid(tomllib.loads(text)), text
        profile = "dev" if "[profile.dev]" in text else None
        Sources({"profile": profile}, {"CREDENTIALS_DIRECTORY": "/run/x"}).gather()


@in_the_sources
def test_the_file_of_variables_of_the_documentation_is_read(tmp_path: Path) -> None:
    (text,) = blocks("sh")
    (tmp_path / ".env").write_text(text)
    assert read(str(tmp_path / ".env"), {"USER": "ann"}) == {
        "DATABASE_URL": "postgres://shop@db.example/shop",
        "GREETING": "Hello,\nann",
        "PRICE": "costs ${5}",
    }
