"""The access log, as the engine writes it. What a line looks like is tested beside the code, in Rust."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefork._engine import AccessLog, access_log_atoms
from prefork.errors import OptionError
from prefork.logs.access_log import access_log, check_format, directory_of
from support.engine import LocalEngine, RunEngine, Service

WHEN = r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"


class Logged:
    """An engine with an access log."""

    def __init__(self, run_engine: RunEngine, path: Path, handler: Any = None, **options: Any) -> None:
        self.path = path
        service = Service(handler or (lambda _, response: response.done()))
        service.access_log = access_log(os.fspath(path), **options)
        self.engine: LocalEngine = run_engine(service=service)

    @property
    def lines(self) -> list[str]:
        """What is written when all that waits is."""
        self.engine.engine.poll(0)
        self.engine.engine.poll(0)
        return self.path.read_text().splitlines()


def test_the_combined_format(run_engine: RunEngine, tmp_path: Path) -> None:
    def handler(_: Any, response: Any) -> None:
        response.code = 201
        response.content = "hello"
        response.done()

    log = Logged(run_engine, tmp_path / "log", handler)
    log.engine.get("/a%20b?x=1", "Referer: http://here/", "User-Agent: curl/8")
    (line,) = log.lines
    asked = re.escape('"GET /a%20b?x=1 HTTP/1.1" 201 5 "http://here/" "curl/8"')
    assert re.fullmatch(rf"127\.0\.0\.1 - - {WHEN} {asked}", line)


def test_the_length_of_a_stream_is_that_of_its_pieces(run_engine: RunEngine, tmp_path: Path) -> None:
    def handler(_: Any, response: Any) -> None:
        response.stream("PAGES", "next")
        for piece in ("first", "last"):
            response.content = piece
            response.write()
        response.done()

    log = Logged(run_engine, tmp_path / "log", handler)
    log.engine.get("/stream")
    assert '"GET /stream HTTP/1.1" 200 9 "-" "-"' in log.lines[0]


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("%(m)s %(U)s %(q)s %(H)s %({x-one}i)s", "POST /a b=c HTTP/1.1 two"),
        ("%({content-type}o)s %({X-Set}o)s %({gone}o)s", "- yes -"),
        ("%(bytes_in)s %(bytes_out)s %(scheme)s %(tls)s %(worker)s", "3 2 http - -"),
        ("%({REQUEST_METHOD}e)s %({path_info}e)s %({HTTP_X_ONE}e)s %({no}e)s", "POST /a two -"),
        ("%({raw_uri}e)s %({content_length}e)s %({remote_addr}e)s", "/a?b=c 3 127.0.0.1"),
    ],
)
def test_atoms_of_a_request(run_engine: RunEngine, tmp_path: Path, form: str, line: str) -> None:
    def handler(_: Any, response: Any) -> None:
        response.header("X-Set", "yes")
        response.content = "ok"
        response.done()

    log = Logged(run_engine, tmp_path / "log", handler, form=form)
    log.engine.request("/a?b=c", "X-One: two", method="POST", body=b"abc")
    assert log.lines == [line]


def test_the_process_is_named(run_engine: RunEngine, tmp_path: Path) -> None:
    log = Logged(run_engine, tmp_path / "log", form="%(p)s")
    log.engine.get("/")
    assert log.lines == [f"<{os.getpid()}>"]


def test_times_are_those_of_the_response(run_engine: RunEngine, tmp_path: Path) -> None:
    kept: list[Any] = []
    service = Service(lambda _, response: kept.append(response))
    service.access_log = access_log(os.fspath(tmp_path / "log"), "%(D)s %(L)s %(wait)s")
    engine = run_engine(service=service)
    engine.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    engine.turn_until(lambda: kept)
    for _ in range(3):
        engine.engine.poll(0.01)
    kept[0].done()
    engine.engine.poll(0)
    micros, decimal, wait = (tmp_path / "log").read_text().split()
    assert int(micros) >= 20_000
    assert float(decimal) == int(micros) / 1e6
    assert 0 <= float(wait) < 5


def test_a_malformed_request_has_no_request_line(run_engine: RunEngine, tmp_path: Path) -> None:
    log = Logged(run_engine, tmp_path / "log")
    log.engine.raw(b"nonsense\r\n\r\n")
    assert re.fullmatch(rf'127\.0\.0\.1 - - {WHEN} "-" 400 \d+ "-" "-"', log.lines[0])


def test_paths_that_are_skipped_have_no_line(run_engine: RunEngine, tmp_path: Path) -> None:
    log = Logged(run_engine, tmp_path / "log", form="%(U)s", skip=("/healthz", "/static/*"))
    for path in ("/healthz", "/static/a", "/healthz/", "/", "/healthz?x"):
        log.engine.get(path)
    assert log.lines == ["/healthz/", "/"]


def test_a_response_that_is_dropped_has_a_line(run_engine: RunEngine, tmp_path: Path) -> None:
    log = Logged(run_engine, tmp_path / "log", lambda *_: None, form="%(s)s %(U)s")
    log.engine.get("/silent")
    assert log.lines == ["500 /silent"]


FIELD = st.binary(max_size=60).map(lambda raw: bytes(byte for byte in raw if byte not in b"\r\n\0"))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(agent=FIELD, target=st.binary(min_size=1, max_size=40), user=FIELD)
def test_whatever_bytes_come_json_is_json(
    logs: tuple[Logged, Logged], agent: bytes, target: bytes, user: bytes
) -> None:
    fields = b"Host: x\r\nUser-Agent: " + agent + b"\r\nReferer: " + user + b"\r\nConnection: close\r\n\r\n"
    for log in logs:
        before = len(log.lines)
        log.engine.raw(b"GET /" + target + b" HTTP/1.1\r\n" + fields)
        added = log.lines[before:]
        assert len(added) == 1
        assert added[0].isascii()
        assert added[0].isprintable()
    line = json.loads(logs[0].lines[-1])
    assert line["status"] in (200, 400, 501, 505)
    if line["status"] == 200:
        agent_sent = agent.strip(b" \t")
        try:
            shown = agent_sent.decode()
        except UnicodeDecodeError:
            shown = line["user_agent"]
        assert line["user_agent"] == shown
    combined = logs[1].lines[-1]
    quoted = re.findall(r'"((?:[^"\\]|\\.)*)"', combined)
    assert len(quoted) == 3, combined


@pytest.fixture
def logs(run_engine: RunEngine, tmp_path: Path) -> tuple[Logged, Logged]:
    return (
        Logged(run_engine, tmp_path / "json", form="json"),
        Logged(run_engine, tmp_path / "combined", form="combined"),
    )


@pytest.mark.parametrize("rotated", [os.unlink, lambda path: os.rename(path, f"{path}.1")])
def test_a_file_that_was_rotated_away_is_made_again_at_once_on_request(
    run_engine: RunEngine, tmp_path: Path, rotated: Any
) -> None:
    log = Logged(run_engine, tmp_path / "log", form="%(U)s")
    log.engine.get("/a")
    assert log.lines == ["/a"]
    before = os.listdir("/proc/self/fd")
    rotated(log.path)
    log.engine.engine.reopen_log()
    log.engine.get("/b")
    assert log.lines == ["/b"]
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_full_disk_is_no_reason_not_to_respond(run_engine: RunEngine) -> None:
    log = Logged(run_engine, Path("/dev/full"))
    assert log.engine.get("/").status == 200
    log.engine.turn_until(lambda: log.engine.service.errors)
    ((text, _),) = log.engine.service.errors
    assert text.startswith("the access log cannot be written: No space left on device")


def test_standard_output_is_a_dash(run_engine: RunEngine, capfd: pytest.CaptureFixture[str]) -> None:
    log = Logged(run_engine, Path("-"))
    log.engine.get("/")
    log.engine.engine.poll(0)
    assert capfd.readouterr().out.startswith("127.0.0.1 - - [")
    assert directory_of("-") is None


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"access log .* cannot be written: No such file or directory"):
        access_log(os.fspath(tmp_path / "no" / "access.log"))


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ("%(h)s %(status)s", "there is no atom %(status)s; did you mean %(s)s?"),
        ("%(R)s", "there is no atom %(R)s; did you mean %(r)s?"),
        ("%(waits)s", "there is no atom %(waits)s; did you mean %(wait)s?"),
        ("%(user-agent)s", "there is no atom %(user-agent)s; did you mean %(a)s?"),
        ("%({Host}x)s", "there is no atom %({Host}x)s; did you mean %({Host}i)s?"),
        ("%({Host})s", "there is no atom %({Host})s; did you mean %({Host}i)s?"),
        ("%(zzzz)s", "there is no atom %(zzzz)s"),
        ("%h %l", "expected an atom such as %(h)s, or %% for a percent sign, got '%h %l'"),
        (
            "combine",
            "expected common, combined, json or a text with atoms such as %(h)s, got 'combine'; "
            "did you mean 'combined'?",
        ),
    ],
)
def test_what_is_wrong_with_a_format_is_told(form: str, why: str) -> None:
    with pytest.raises(OptionError) as raised:
        check_format(form, "--access-log-format")
    assert str(raised.value) == f"--access-log-format: {why}"


def test_every_atom_of_gunicorn_exists() -> None:
    assert set("hltrmUqHsBbfaTDMLpu") <= set(access_log_atoms())
    check_format('%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" %({x}i)s %({x}o)s %({x}e)s', "")


def test_an_access_log_of_no_format_raises() -> None:
    with pytest.raises(ValueError, match="no format"):
        AccessLog("/dev/null", "%(no)s")
