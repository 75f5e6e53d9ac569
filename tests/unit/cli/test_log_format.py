"""The format of the log, read from sources of which others may be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefork.cli.log_format import given_format


@pytest.mark.parametrize(
    ("arguments", "environment", "found"),
    [
        ([], {}, "text"),
        (["app", "--log-format", "json", "--wrong"], {}, "json"),
        (["--log-format=JSON"], {}, "json"),
        (["--log-format", "json", "--log-format=text"], {}, "text"),
        (["--log-format"], {}, "text"),
        (["--log-format", "xml"], {}, "text"),
        (["--", "--log-format=json"], {}, "text"),
        ([], {"PREFORK_LOG_FORMAT": "json"}, "json"),
        (["--log-format", "text"], {"PREFORK_LOG_FORMAT": "json"}, "text"),
        (["--config", "/no/such/file"], {}, "text"),
    ],
)
def test_the_command_line_wins_over_the_environment(
    arguments: list[str], environment: dict[str, str], found: str
) -> None:
    assert given_format(arguments, environment) == found


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('log_format = "json"', "json"),
        ('[prefork]\nlog-format = "json"\nworkers = "many"', "json"),
        ("[prefork]\nworkers = 1", "text"),
        ("prefork = 1", "text"),
        ("not TOML", "text"),
    ],
)
def test_a_file_may_say_it(tmp_path: Path, content: str, found: str) -> None:
    file = tmp_path / "prefork.toml"
    file.write_text(content)
    assert given_format(["app", "-c", str(file)], {}) == found
    assert given_format(["app"], {"PREFORK_CONFIG": str(file)}) == found


def test_a_file_that_is_found_may_say_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prefork.toml").write_text('log_format = "json"\n')
    assert given_format(["app"], {}) == "json"
    assert given_format(["app", "--config", "none"], {}) == "text"
    Path("pyproject.toml").write_text('[tool.prefork]\nlog_format = "text"\nprofile.x.log-format = "json"\n')
    assert given_format(["app"], {}) == "text"
    assert given_format(["app"], {"PREFORK_PROFILE": "x"}) == "json"
    Path(".env").write_text("PREFORK_PROFILE=x\n")
    assert given_format(["app", "--env-file", ".env"], {}) == "json"
    Path(".env").write_text("not a line\n")
    assert given_format(["app", "--env-file", ".env"], {}) == "text"
