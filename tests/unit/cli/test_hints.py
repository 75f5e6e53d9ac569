from __future__ import annotations

import re

import click
import pytest

from prefork.cli.hints import explain, no_such_command, no_such_option
from prefork.cli.main import COMMANDS, commands
from prefork.cli.serve import OF_SOURCES, SHORT
from prefork.config.checked import EXTERNAL
from prefork.config.other_servers import ABSENT, EQUIVALENTS, hint
from prefork.config.peers.gunicorn import GUNICORN
from prefork.config.peers.uvicorn import UVICORN

GRANIAN = """
--host --port --uds --uds-permissions --interface --http --ws --no-ws --workers --blocking-threads
--blocking-threads-idle-timeout --runtime-threads --runtime-blocking-threads --runtime-mode --loop
--task-impl --backlog --backpressure --http1-buffer-size --http1-header-read-timeout
--http1-keep-alive --no-http1-keep-alive --http1-pipeline-flush --no-http1-pipeline-flush
--http2-adaptive-window --no-http2-adaptive-window --http2-initial-connection-window-size
--http2-initial-stream-window-size --http2-keep-alive-interval --http2-keep-alive-timeout
--http2-max-concurrent-streams --http2-max-frame-size --http2-max-headers-size
--http2-max-send-buffer-size --log --no-log --log-level --log-config --access-log --no-access-log
--access-log-fmt --ssl-certificate --ssl-keyfile --ssl-keyfile-password --ssl-protocol-min --ssl-ca
--ssl-crl --ssl-client-verify --no-ssl-client-verify --url-path-prefix --respawn-failed-workers
--no-respawn-failed-workers --respawn-interval --rss-sample-interval --rss-samples
--workers-lifetime --workers-max-rss --workers-kill-timeout --factory --no-factory --working-dir
--env-files --static-path-route --static-path-mount --static-path-dir-to-file --static-path-expires
--metrics --no-metrics --metrics-scrape-interval --metrics-address --metrics-port --reload
--no-reload --reload-paths --reload-ignore-dirs --reload-ignore-patterns --reload-ignore-paths
--reload-tick --reload-ignore-worker-failure --no-reload-ignore-worker-failure --process-name
--pid-file --version
"""
HYPERCORN = """
--access-log --access-logfile --access-logformat --backlog -b --bind --ca-certs --certfile
--cert-reqs --ciphers -c --config -D --daemon --debug --error-log --error-logfile --log-file
--graceful-timeout --read-timeout --max-requests --max-requests-jitter -g --group -k --worker-class
--keep-alive --keyfile --keyfile-password --insecure-bind --log-config --log-level -p --pid
--quic-bind --reload --root-path --server-name --statsd-host --statsd-prefix -m --umask -u --user
--verify-mode --websocket-ping-interval -w --workers
"""
OURS = {option.flag for option in EXTERNAL.values()} | {*SHORT.values()}
OURS |= {flag for source in OF_SOURCES for flag in source.opts}
OURS |= {f"--no-{option.flag[2:]}" for option in EXTERNAL.values() if isinstance(option.default, bool)}
TABLES = {
    flag for peer in (GUNICORN, UVICORN) for setting in peer.settings.values() for flag in setting.flags
}
THEIRS = sorted({"-v", *TABLES, *GRANIAN.split(), *HYPERCORN.split()} - OURS)


@pytest.mark.parametrize("name", THEIRS)
def test_no_option_of_another_server_is_guessed_at(name: str) -> None:
    assert hint(name) is not None
    assert "did you mean" not in no_such_option(name)


def test_hints_name_options_that_exist() -> None:
    named = {
        flag
        for text in (*EQUIVALENTS.values(), *ABSENT.values())
        for flag in re.findall(r"--[a-z0-9-]+", text)
    }
    assert named - {"--json", "--version"} <= OURS


def test_each_hint_is_of_another_server_and_stands_once() -> None:
    names = [*EQUIVALENTS, *(name for names in ABSENT for name in names.split())]
    assert len(names) == len(set(names))
    assert not set(names) & TABLES
    for name in names:
        assert name in THEIRS or (name[-1] == "-" and any(theirs.startswith(name) for theirs in THEIRS)), name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("--env-files", "No such option '--env-files'; use --env-file"),
        ("--limit-request-line", "No such option '--limit-request-line'; use --max-line"),
        ("--http2", "No such option '--http2'; HTTP/2 is spoken over TLS unless --tls-alpn leaves it out"),
        ("--http2-cleartext", "No such option '--http2-cleartext'; use --h2c"),
        ("--limit-concurrency", "No such option '--limit-concurrency'; --max-queue limits the requests"),
        ("--spew", "No such option '--spew'; use a debugger"),
        ("--worker", "No such option '--worker'; did you mean '--workers'?"),
        ("--pidfile", "No such option '--pidfile'; did you mean '--pid-file'?"),
        ("--acces-log", "No such option '--acces-log'; did you mean '--access-log'?"),
    ],
)
def test_what_is_said_of_a_flag(name: str, message: str) -> None:
    assert no_such_option(name).startswith(message)


@pytest.mark.parametrize(
    "name", ["--my-file", "--id-file", "--bin-file", "--env-fil", "--access", "--success-lo"]
)
def test_no_guess_has_a_file_overwritten(name: str) -> None:
    assert "--pid-file" not in no_such_option(name)
    assert "--access-log" not in no_such_option(name)


def test_an_access_log_without_a_file_says_how_to_print_it() -> None:
    error = click.BadOptionUsage("--access-log", "Option '--access-log' requires an argument.")
    assert explain(error, []) == "--access-log requires a file; `--access-log -` is standard output"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("app:app", "No such command 'app:app'; use `prefork serve app:app`"),
        ("app.py", "No such command 'app.py'; use `prefork serve app.py`"),
        ("srve", "No such command 'srve'; did you mean 'serve'?"),
        ("run", "No such command 'run'; use `prefork serve`"),
        ("zzz", "No such command 'zzz'"),
    ],
)
def test_what_is_said_of_a_word_that_is_no_command(name: str, message: str) -> None:
    assert no_such_command(name, COMMANDS) == message
    with pytest.raises(click.UsageError) as raised:
        commands.main([name, "-w", "3"], standalone_mode=False)
    assert explain(raised.value, []) == message
