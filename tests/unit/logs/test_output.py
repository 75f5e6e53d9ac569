from __future__ import annotations

import contextlib
import fcntl
import io
import logging
import os
import pty
import socket
import threading
from collections.abc import Iterator

import pytest

from prefork.logs import output as module
from prefork.logs.output import Output, output_of
from support.waiting import wait_until

LINE = b"x" * 99 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def read_lines(descriptor: int, count: int) -> list[bytes]:
    got = b""
    while got.count(b"\n") < count:
        got += os.read(descriptor, 65536)
    return got.splitlines(keepends=True)


def is_done(output: Output) -> bool:
    return output._thread is None


def test_what_a_full_pipe_does_not_take_is_written_when_it_is_read(pipe):
    output = Output(pipe[1], "the log")
    lines = [b"%d " % number + LINE for number in range(2000)]
    for line in lines:
        output.write(line)
    assert output._thread is not None
    assert read_lines(pipe[0], 2000) == lines
    wait_until(lambda: is_done(output), "the thread to end")


def test_a_program_that_closes_every_other_descriptor_keeps_its_log(pipe):
    output = Output(pipe[1], "the log")
    assert output._descriptor != pipe[1]
    os.close(output._descriptor)
    output.write(LINE)
    assert read_lines(pipe[0], 1) == [LINE]
    os.close(output._descriptor)
    os.close(pipe[1])
    output.write(LINE)  # nowhere


def test_beyond_the_limit_the_latest_lines_are_lost_and_counted(pipe, monkeypatch, caplog):
    monkeypatch.setattr(module, "LIMIT_BYTES", 1000)
    output = Output(pipe[1], "the log")
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)
    for number in range(100):
        output.write(b"%02d " % number + LINE)
    got = read_lines(pipe[0], 1)
    wait_until(lambda: "were lost" in caplog.text, "the count")
    got += read_lines(pipe[0], 1)
    numbers = [int(line[:2]) for line in got]
    assert numbers == list(range(len(numbers)))
    assert f"{100 - len(numbers)} lines of the log were lost" in caplog.text


def test_a_line_longer_than_the_pipe_is_written_whole(pipe):
    output = Output(pipe[1], "the log")
    output.write(b"y" * 300_000 + b"\n")
    output.write(LINE)
    assert read_lines(pipe[0], 2) == [b"y" * 300_000 + b"\n", LINE]


def test_the_open_file_that_other_programs_share_still_blocks(pipe):
    Output(pipe[1], "the log").write(LINE)
    assert os.get_blocking(pipe[1])


def test_a_pipe_that_cannot_be_opened_again_is_asked_first(pipe, monkeypatch):
    def refuse(*_: object) -> int:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        output = Output(pipe[1], "the log")
    lines = [b"%d " % number + LINE for number in range(2000)]
    for line in lines:
        output.write(line)
    output.write(b"y" * 10_000 + b"\n")
    assert read_lines(pipe[0], 2001) == [*lines, b"y" * 10_000 + b"\n"]


def test_a_socket_does_not_wait_either():
    ours, theirs = socket.socketpair()
    with ours:
        output = Output(ours.fileno(), "the log")
        with theirs:
            for _ in range(10_000):
                output.write(LINE)
            assert read_lines(theirs.fileno(), 5_000)[0] == LINE
            assert ours.getblocking()
        # Before another file gets the number of the descriptor.
        wait_until(lambda: is_done(output), "the thread to end")


def test_a_line_for_a_terminal_needs_no_thread():
    outer, inner = pty.openpty()
    output = Output(inner, "the log")
    output.write(LINE)
    assert output._thread is None
    os.close(outer)
    os.close(inner)


def test_a_terminal_that_is_halted_does_not_wait_either():
    outer, inner = pty.openpty()
    output = Output(inner, "the log")
    for _ in range(2_000):
        output.write(LINE)
    assert output._thread is not None
    assert read_lines(outer, 2_000)[0] == LINE.replace(b"\n", b"\r\n")
    wait_until(lambda: is_done(output), "the thread to end")
    os.close(outer)
    os.close(inner)


def test_a_reader_that_has_gone_is_no_error(pipe):
    output = Output(pipe[1], "the log")
    for _ in range(2000):
        output.write(LINE)
    os.close(pipe[0])
    wait_until(lambda: is_done(output), "the thread to end")
    output.write(LINE)


def test_without_a_thread_the_lines_are_lost_and_it_goes_on(pipe, monkeypatch):
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    output = Output(pipe[1], "the log")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        for _ in range(2000):
            output.write(LINE)
    before = len(read_lines(pipe[0], 1))
    output.write(b"again\n")
    assert before > 1
    assert read_lines(pipe[0], 1)[-1] == b"again\n"


def test_a_child_keeps_nothing_of_its_parent(pipe):
    output = Output(pipe[1], "the log")
    for _ in range(2000):
        output.write(LINE)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if not output._kept and output._thread is None and not output._lock.locked() else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert output._kept


def test_flush_waits_a_moment_for_the_reader(pipe):
    output = Output(pipe[1], "the log")
    for _ in range(2000):
        output.write(LINE)
    output.flush()
    reader = threading.Thread(target=read_lines, args=(pipe[0], 2000))
    reader.start()
    wait_until(lambda: output.flush() or is_done(output), "all to be read")
    reader.join()


def test_a_stream_without_a_descriptor_is_written_to():
    stream = io.StringIO()
    output_of(stream, "the log").write(b"line\n")
    assert stream.getvalue() == "line\n"
    stream.close()
    output_of(stream, "the log").write(b"line\n")


def test_a_stream_that_was_closed_at_the_start_is_none():
    output = output_of(None, "the log")
    output.write(b"line\n")
    output.flush()


def test_threads_share_an_output(pipe):
    output = Output(pipe[1], "the log")
    threads = [
        threading.Thread(target=lambda n=n: [output.write(b"%d\n" % n) for _ in range(20_000)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    lines = read_lines(pipe[0], 80_000)
    for thread in threads:
        thread.join()
    assert sorted(lines) == sorted([b"%d\n" % n for n in range(4)] * 20_000)


def test_the_number_of_lost_lines_is_told_when_they_are_read_again(pipe, caplog):
    caplog.set_level(logging.WARNING, "prefork")
    output = Output(pipe[1], "the access log -")
    lines = 0
    while not output._lost:
        output.write(LINE)
        lines += 1
    read_lines(pipe[0], lines - 1)
    wait_until(lambda: "1 lines of the access log - were lost" in caplog.text, "the count")
