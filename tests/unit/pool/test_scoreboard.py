from __future__ import annotations

import contextlib
import fcntl
import json
import math
import mmap
import os
import random
import resource
import select
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

from prefork._engine import Scoreboard
from prefork.errors import GlueInUse, OptionError, ScoreboardUnavailable
from prefork.pool.scoreboard import (
    CLASSES,
    LIMITED,
    READERS_PER_TURN,
    TIMES,
    ScoreboardSocket,
    format_states,
    histograms,
    list_glues,
    open_scoreboard,
    snapshot,
    time_within,
)

ONE_SLOT = Scoreboard.create(1)
TWO_SLOTS = Scoreboard.create(2)
SLOT = os.fstat(TWO_SLOTS.fileno()).st_size - os.fstat(ONE_SLOT.fileno()).st_size
PAGE = os.fstat(ONE_SLOT.fileno()).st_size - SLOT  # the manager's
NO_TIMES = {"count": 0, "sum_s": 0.0, "p50_s": None, "p90_s": None, "p99_s": None}
NOBODY = 65534
F_SEAL_FUTURE_WRITE = 0x10  # which the module does not name
ALL_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL | F_SEAL_FUTURE_WRITE

HOLDER = """
import os, sys
from prefork._engine import Scoreboard
from prefork.pool.scoreboard import ScoreboardSocket
board = Scoreboard.create(1)
board_socket = ScoreboardSocket(board, sys.argv[1])
print("holding", flush=True)
sys.stdin.read()
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def board():
    board = Scoreboard.create(4)
    yield board
    board.close()


@pytest.fixture
def board_socket(board):
    with contextlib.closing(ScoreboardSocket(board)) as board_socket:
        yield board_socket


@pytest.fixture
def holder():
    """Another process that holds the glue `taken-<pid of the tests>`."""
    glue = f"taken-{os.getpid()}"
    command = [sys.executable, "-c", HOLDER, glue]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"holding\n"
        yield glue, process
        process.kill()


def in_child(action, board_socket=None, uid=None):
    """Exit status and text of an action in a forked process, while this one responses."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            if uid is not None:
                os.setuid(uid)
            os.write(writer, str(action()).encode())
            status = 0
        except BaseException as error:
            os.write(writer, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as responses:
        waiting = {responses.fileno()} | ({board_socket.fileno()} if board_socket else set())
        while responses.fileno() not in (ready := select.select(waiting, [], [], 30)[0]):
            assert ready, "neither a question nor a response came"
            board_socket.respond()
        text = responses.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text


def read_from_outside(board_socket):
    status, text = in_child(lambda: report(*open_scoreboard(board_socket.glue)[:2]), board_socket)
    assert status == 0, text
    return json.loads(text)


def report(board, pid):
    return json.dumps({"pid": pid, **snapshot(board)})


def hostile_copy(board, words):
    """A scoreboard whose slots hold any words: a file made by hand, sealed as the real one is."""
    with mmap.mmap(board.fileno(), PAGE, mmap.MAP_SHARED, mmap.PROT_READ) as real:
        head = real[:]
    fd = os.memfd_create("hostile", os.MFD_ALLOW_SEALING)
    try:
        os.write(fd, head + b"".join(word.to_bytes(8, "little") for word in words))
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, ALL_SEALS)
        return Scoreboard.attach(fd)
    finally:
        os.close(fd)


def test_a_claim_is_seen_in_another_process(board, board_socket):
    board.publish(pid=os.getpid(), generation=2, min_spare=5, may_grow=True)
    assert board.claim(2, 2)
    seen = read_from_outside(board_socket)
    assert seen["pid"] == seen["manager"]["pid"] == os.getpid()
    assert seen["manager"]["may_grow"] is True
    assert [(worker["slot"], worker["state"]) for worker in seen["workers"]] == [(2, "starting")]


def test_with_the_memory_comes_what_the_manager_says_of_itself_at_that_moment(board):
    said: list[object] = [{"listeners": []}, None]
    with contextlib.closing(ScoreboardSocket(board, about=said.pop)) as board_socket:
        for expected in ("None", "{'listeners': []}"):
            assert in_child(lambda: open_scoreboard(board_socket.glue).about, board_socket) == (0, expected)


def test_what_a_forked_process_writes_is_seen_here(board):
    status, _ = in_child(lambda: board.claim(3, 9))
    assert status == 0
    assert board.states() == bytes([0, 0, 0, 1])
    assert board.read(3)["generation"] == 9


def test_the_memory_cannot_be_mapped_to_write(board):
    for access in (mmap.PROT_WRITE, mmap.PROT_READ | mmap.PROT_WRITE):
        with pytest.raises(PermissionError):
            mmap.mmap(board.fileno(), PAGE, mmap.MAP_SHARED, access)
    with pytest.raises(PermissionError):
        os.pwrite(board.fileno(), b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(board.fileno(), 0)


def test_the_report_is_json_with_manager_totals_and_workers(board):
    board.publish(pid=7, started_ns=5_000_000_000, retired_requests=100, retired_bytes_out=9)
    board.claim(0, 1)
    board.claim(1, 1)
    seen = json.loads(json.dumps(snapshot(board, now=board.read(0)["started"] + 60)))
    assert set(seen) == {"manager", "totals", "workers"}
    assert seen["manager"]["uptime_s"] > 55
    assert (seen["totals"]["workers"], seen["totals"]["starting"], seen["totals"]["spare"]) == (2, 2, 0)
    assert (seen["totals"]["requests"], seen["totals"]["bytes_out"]) == (100, 9)
    assert seen["workers"][0] == {
        "slot": 0, "state": "starting", "pid": 0, "generation": 1, "age_s": 60.0, "since_turn_s": 60.0,
        "requests": 0, "bytes_in": 0, "bytes_out": 0, "connections": 0, "in_flight": 0, "waiting": 0,
        "lag_s": 0.0, "busy_s": 0.0, "handed_off": 0, "adopted": 0,
        "responses": 0, "errors": 0, "log_lost": 0, "response_s": 0.0, **dict.fromkeys(LIMITED, 0),
        "classes": dict.fromkeys(CLASSES, 0), "statuses": {}, **dict.fromkeys(TIMES, NO_TIMES),
        "tls": {"handshakes": 0, "resumed": 0}, "http2": {"connections": 0, "streams": 0},
        "cpu_s": None, "rss": None, "pss": None, "is_garbled": False, "request": None,
    }  # fmt: skip
    assert {name: seen["totals"][name] for name in TIMES} == dict.fromkeys(TIMES, NO_TIMES)
    assert seen["totals"]["classes"] == dict.fromkeys(CLASSES, 0)


def test_quantiles_of_the_histogram_of_an_interval():
    before = [(1.0, 4), (2.0, 4), (math.inf, 4)]
    after = [(1.0, 4), (2.0, 14), (math.inf, 15)]
    between = [(bound, count - old) for (bound, count), (_, old) in zip(after, before, strict=True)]
    assert time_within(between, 0.5) == pytest.approx(1.55)
    assert time_within(between, 0.99) == pytest.approx(2.0, abs=2.0)
    assert time_within([(1.0, 0), (math.inf, 0)], 0.5) is None
    assert time_within([], 0.5) is None


def test_histograms_end_with_all(board):
    board.claim(0, 0)
    found = histograms(board)
    assert set(found) == set(TIMES)
    for buckets in found.values():
        bounds = [bound for bound, _ in buckets]
        assert bounds == sorted(bounds)
        assert bounds[-1] == math.inf
        assert buckets[-1] == (math.inf, 0)
        assert len(buckets) == 52


def test_a_report_is_made_again_if_a_worker_was_counted_out_meanwhile(board):
    class Restless:
        """A scoreboard of which the manager clears a slot while the first copy is made."""

        def __getattr__(self, name):
            return getattr(board, name)

        def totals(self):
            if board.read(0):
                board.clear(0)
            return board.totals()

    board.claim(0, 0)
    board.claim(1, 0)
    restless: Any = Restless()
    assert [worker["slot"] for worker in snapshot(restless)["workers"]] == [1]


def test_the_debug_line_counts_and_lists(board):
    assert format_states(board) == "actives 0, spares 0:"
    board.claim(1, 0)
    assert format_states(board) == "actives 0, spares 0: ? = starting"


@pytest.mark.parametrize("seed", range(20))
def test_noise_in_the_slots_breaks_no_report(board, seed):
    chance = random.Random(seed)
    for index in range(board.capacity):
        board.claim(index, 0)  # or the noise would not be read
    words = [chance.choice((chance.getrandbits(64), chance.getrandbits(3))) for _ in range(SLOT // 8 * 4)]
    words[:: SLOT // 8] = [2, 2, 3, 4]  # sequences: of some slots it seems that they can be read whole
    hostile = hostile_copy(board, words)
    seen = json.loads(json.dumps(snapshot(hostile)))
    assert all(worker["is_garbled"] for worker in seen["workers"])
    assert (seen["totals"]["requests"], seen["totals"]["wait"]) == (0, NO_TIMES)
    assert histograms(hostile) == histograms(board)
    assert seen["totals"]["workers"] == len(seen["workers"]) <= 4
    assert "\n" not in format_states(hostile)
    for index in range(-1, 6):
        with contextlib.suppress(OverflowError):
            hostile.read(index)


def test_noise_in_a_path_cannot_reach_a_terminal(board):
    board.claim(0, 0)
    slot = [0x1B0A5C41E9000000 + index if index > 12 else 2 for index in range(SLOT // 8)]
    hostile = hostile_copy(board, slot + [0] * (SLOT // 8 * 3))
    path = snapshot(hostile)["workers"][0]["request"]["path"]
    assert path.isprintable()
    assert path.isascii()
    assert "\\x1b" in path


def test_a_reader_changes_nothing(board):
    reader = Scoreboard.attach(board.fileno())
    for change in (
        lambda: reader.claim(0, 0),
        lambda: reader.clear(0),
        lambda: reader.publish(pid=1),
        reader.fileno,
        reader.wakeup_fileno,
    ):
        with pytest.raises(RuntimeError, match="attached to read"):
            change()


def test_a_closed_scoreboard_says_so(board):
    board.close()
    for use in (board.states, board.header, lambda: board.read(0), lambda: board.claim(0, 0)):
        with pytest.raises(RuntimeError, match="closed"):
            use()


def test_wrong_arguments_are_refused(board):
    with pytest.raises(ValueError, match="at least one slot"):
        Scoreboard.create(0)
    with pytest.raises(TypeError, match="spare_parts=3"):
        board.publish(spare_parts=3)
    with pytest.raises(TypeError, match="min_spare=4294967296"):
        board.publish(min_spare=1 << 32)
    assert board.claim(4, 0) is False
    with pytest.raises(ValueError, match="got -1"):
        Scoreboard.attach(-1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        Scoreboard.attach(1 << 20)
    with open(os.memfd_create("bare", os.MFD_ALLOW_SEALING), "wb") as bare:
        os.ftruncate(bare.fileno(), PAGE + SLOT)
        with pytest.raises(ValueError, match="sealed memory"):
            Scoreboard.attach(bare.fileno())


def test_a_glue_in_use_names_the_pid(holder, board):
    glue, process = holder
    with pytest.raises(GlueInUse, match=rf"'{glue}' is held by pid {process.pid}:"):
        ScoreboardSocket(board, glue)


def test_a_glue_is_free_again_after_its_holder_was_killed(holder, board):
    glue, process = holder
    assert glue in list_glues()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert glue not in list_glues()
    ScoreboardSocket(board, glue).close()


def test_a_glue_is_given_up_by_close_and_can_be_taken_again(board):
    first = ScoreboardSocket(board, "again")
    first.close()
    ScoreboardSocket(board, "again").close()
    assert "again" not in list_glues()


def test_chosen_glues_are_unique_and_listed(board):
    with (
        contextlib.closing(ScoreboardSocket(board)) as one,
        contextlib.closing(ScoreboardSocket(board)) as two,
    ):
        assert one.glue != two.glue
        assert {one.glue, two.glue} <= set(list_glues())
        assert one.glue not in list_glues(uid=NOBODY)


def test_odd_names_of_other_sockets_are_not_taken_for_glues():
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f"\0prefork/{os.geteuid()}/odd one\n\n")
        assert not [glue for glue in list_glues() if glue.startswith("odd")]


@pytest.mark.parametrize("glue", ["", "a/b", "a b", "x" * 65, "a\n", "ü", "\0"])
def test_what_is_no_name_is_refused(board, glue):
    with pytest.raises(OptionError, match="1 to 64 letters"):
        ScoreboardSocket(board, glue)
    with pytest.raises(OptionError, match="1 to 64 letters"):
        open_scoreboard(glue)


def test_a_glue_that_is_not_held_names_those_that_are(board_socket):
    with pytest.raises(ScoreboardUnavailable, match=f"found none; running: .*{board_socket.glue}"):
        open_scoreboard("not-held")


def test_a_client_that_connects_and_leaves_does_no_harm(board, board_socket):
    for _ in range(3):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asker:
            asker.connect(f"\0prefork/{os.geteuid()}/{board_socket.glue}")
    board_socket.respond()
    board_socket.respond()
    board.claim(0, 0)
    assert len(read_from_outside(board_socket)["workers"]) == 1


def test_many_clients_at_once_are_served_some_in_each_turn(board_socket):
    address = f"\0prefork/{os.geteuid()}/{board_socket.glue}"
    many = 3 * READERS_PER_TURN
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)) for _ in range(many)
        ]
        for client in clients:
            client.connect(address)
        for served in (1, 2, 3):
            board_socket.respond()
            assert len(select.select(clients, [], [], 0)[0]) == served * READERS_PER_TURN
        assert not select.select([board_socket], [], [], 0)[0]


def test_of_several_scoreboards_in_one_process_none_is_guessed_at(board_socket, monkeypatch):
    monkeypatch.setattr("prefork.pool.scoreboard._TIMEOUT_S", 0.1)
    with contextlib.closing(Scoreboard.create(1)), pytest.raises(ScoreboardUnavailable, match="timed out"):
        open_scoreboard(board_socket.glue)


def test_a_manager_out_of_descriptors_turns_askers_away(board_socket):
    address = f"\0prefork/{os.geteuid()}/{board_socket.glue}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asker:
        asker.connect(address)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            board_socket.respond()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        asker.settimeout(10)
        assert asker.recv(1) == b""
        assert not select.select([board_socket], [], [], 0)[0], "nothing is left to spin on"
    assert read_from_outside(board_socket)["workers"] == []


@needs_root
def test_another_user_gets_nothing(board_socket):
    status, text = in_child(lambda: open_scoreboard(board_socket.glue, uid=0), board_socket, uid=NOBODY)
    assert status == 1
    assert text.startswith("ScoreboardUnavailable: ")
    assert "sent no descriptor" in text


@needs_root
def test_a_glue_under_a_false_name_is_not_believed():
    name = f"\0prefork/{os.geteuid()}/forged-{os.getpid()}"
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.setuid(NOBODY)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            listener.bind(name)
            listener.listen()
            os.write(writer, b"listening")
            signal.pause()
        os._exit(1)
    os.close(writer)
    try:
        assert os.read(reader, 100) == b"listening"
        with pytest.raises(ScoreboardUnavailable, match=f"but user {NOBODY} holds it"):
            open_scoreboard(f"forged-{os.getpid()}")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)
