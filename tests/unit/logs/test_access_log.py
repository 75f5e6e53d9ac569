from __future__ import annotations

import os
import re
import sys
import threading
from types import SimpleNamespace

import pytest

from prefork.errors import OptionError
from prefork.logs import access_log
from prefork.logs.access_log import AccessLog


def request(method="GET", **headers):
    return SimpleNamespace(
        method=method,
        raw_path=b"/a%20b",
        query="x=1",
        protocol="HTTP/1.1",
        remote_ip="127.0.0.1",
        header=lambda name, default=None: headers.get(name.replace("-", "_"), default),
    )


def response(code=200, sent=4):
    connection = SimpleNamespace(remote_ip="127.0.0.2")
    return SimpleNamespace(code=code, sent_bytes=sent, connection=connection, request_line=None)


@pytest.fixture
def line(tmp_path):
    """Logs one response and gives the line."""

    def log(request, code=200, sent=4):
        path = tmp_path / "access.log"
        AccessLog(str(path))(request, response(code, sent))
        return path.read_text()

    return log


def test_the_combined_format(line):
    said = line(request(referer="http://here/", user_agent="curl/8"), code=201, sent=5)
    assert re.fullmatch(
        r"127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "
        r'"GET /a%20b\?x=1 HTTP/1\.1" 201 5 "http://here/" "curl/8"\n',
        said,
    )


@pytest.mark.parametrize(("sent", "shown"), [(2, "200 2"), (0, "200 -"), (None, "499 -")])
def test_the_length_is_that_of_the_body(line, sent, shown):
    assert f'HTTP/1.1" {shown} "-" "-"' in line(request(), sent=sent)


def test_the_length_of_a_stream_is_that_of_its_pieces(run_engine, tmp_path):
    path = tmp_path / "access.log"
    log = AccessLog(str(path))

    def handler(_, response):
        response.stream("PAGES", "next")
        for piece in ("first", "last"):
            response.content = piece
            response.write()
        response.done()

    there = run_engine(handler)
    there.get("/stream")
    log(*there.service.ended[0])
    assert '"GET /stream HTTP/1.1" 200 9 "-"' in path.read_text()


def test_a_malformed_request_has_no_request_line(line):
    said = line(None, code=400, sent=30)
    assert said.startswith("127.0.0.2 - - [")
    assert said.endswith('] "-" 400 30 "-" "-"\n')


def test_no_client_ends_a_field(line):
    assert r'"a\"b\\c\xe9"' in line(request(user_agent='a"b\\cé'))
    asked = request()
    asked.raw_path = b'/"'
    assert r'"GET /\"?x=1 HTTP/1.1" 200' in line(asked)


def test_lines_are_appended(line):
    line(request())
    assert line(request()).count("\n") == 2


@pytest.mark.parametrize("rotated", [os.unlink, lambda path: os.rename(path, f"{path}.1")])
def test_a_file_that_was_rotated_away_is_made_again(tmp_path, rotated):
    path = tmp_path / "access.log"
    log = AccessLog(str(path))
    log(request(), response())
    rotated(path)
    log(request(), response())
    log(request(), response())
    assert path.read_text().count("\n") == 2


@pytest.fixture
def hasty_threads():
    former = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(former)


@pytest.mark.usefixtures("hasty_threads")
def test_threads_that_log_during_rotations_lose_no_line_and_no_descriptor(tmp_path, monkeypatch):
    path = tmp_path / "access.log"
    log = AccessLog(str(path))
    threads, rounds, lines = 8, 50, 5
    together = threading.Barrier(threads, timeout=10)
    opened = access_log._open
    before = os.listdir("/proc/self/fd")

    def open_together(path):
        """All threads see the rotation before one has the new file."""
        try:
            return opened(path)
        finally:
            together.wait()

    monkeypatch.setattr(access_log, "_open", open_together)

    def work():
        for turn in range(rounds):
            if together.wait() == 0:
                os.rename(path, f"{path}.{turn}")
            together.wait()
            for _ in range(lines):
                log(request(), response())

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sum(file.read_text().count("\n") for file in tmp_path.iterdir()) == threads * rounds * lines
    assert os.listdir("/proc/self/fd") == before


def test_a_full_disk_is_no_reason_not_to_respond():
    AccessLog("/dev/full")(request(), response())


def test_standard_output_is_a_dash(capfd):
    AccessLog("-")(request(), response())
    assert capfd.readouterr().out.startswith("127.0.0.1 - - [")


def test_a_file_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"access log .* cannot be written: No such file or directory"):
        AccessLog(os.fspath(tmp_path / "no" / "access.log"))
