"""`prefork top` on a real terminal: what it draws, what keys do, and how it leaves the terminal."""

from __future__ import annotations

import contextlib
import re
import signal
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.admin import LOCAL, admin_url
from support.pool import MakePool
from support.screen import ENTER, LEAVE, Screen
from support.server import Server, run_prefork
from support.waiting import wait_until

TWO = {
    "start_servers": 2,
    "min_spare_servers": 2,
    "max_spare_servers": 3,
    "max_clients": 4,
    "check_spares_interval": 60,
}


@contextlib.contextmanager
def top(server: Server, *arguments: str, size: tuple[int, int] = (80, 24)) -> Iterator[Screen]:
    screen = Screen(
        "-m", "prefork", "top", "--glue", str(server.glue), "--interval", "0.2", *arguments, size=size
    )
    try:
        screen.wait("q quit")
        yield screen
    finally:
        screen.close()


def test_it_shows_the_pool_and_its_requests_live(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    with top(server) as screen:
        screen.wait(f"pool {server.glue}  manager {server.pid}")
        screen.wait("2 spare")
        assert len(screen.lines) == 24
        server.hold(1)
        screen.wait("1 active")
        screen.wait("GET /hold")
        screen.wait("1 spare of 2 missing")
        server.release()
        screen.wait("0 in flight")
        screen.press("q")
        assert screen.ended() == 0


def test_keys_sort_pause_and_help(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    with top(server) as screen:
        screen.press("m")
        screen.wait("sorted by memory")
        screen.press("?")
        screen.wait("select a worker")
        screen.press("\x1b")
        screen.wait("sorted by memory")
        screen.press("p")
        screen.wait("PAUSED")
        server.hold(1)
        server.wait_active(1)
        time.sleep(0.5)  # two reports would have come
        assert not any("1 active" in line for line in screen.lines)
        screen.press("p")
        screen.wait("1 active")
        server.release()
        screen.press("q")
        assert screen.ended() == 0


def test_it_shows_the_stack_of_the_selected_worker(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    server.hold(1)
    server.wait_active(1)
    (active,) = server.workers("active")
    with top(server, size=(120, 50)) as screen:
        screen.press("b")
        screen.wait("sorted by busy")
        screen.wait("100%")
        screen.press("s")
        screen.wait(f"worker {active} of the pool")
        screen.wait("request: GET /hold")
        screen.wait("Current thread 0x")
        screen.press("q")
        assert screen.ended() == 0
    server.release()


def test_it_follows_the_size_of_the_terminal(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    with top(server, "--interval", "30") as screen:
        screen.wait("2 spare")
        screen.resize(120, 40)
        wait_until(lambda: len(screen.lines) == 40, "a frame of 40 lines")
        screen.wait("SLOT")
        screen.resize(40, 8)
        wait_until(lambda: len(screen.lines) == 8, "a frame of 8 lines")
        assert [line for line in screen.lines if len(line) > 40] == []
        screen.press("q")
        assert screen.ended() == 0


@pytest.mark.parametrize("how", ["^C", signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT])
def test_the_terminal_is_given_back_whatever_ends_it(pool: MakePool, how: str | signal.Signals) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    with top(server) as screen:
        if isinstance(how, str):
            screen.press("\x03")
        else:
            screen.process.send_signal(how)
        interrupted = how in ("^C", signal.SIGINT)
        assert screen.ended() == (0 if interrupted else 128 + int(how))


def test_a_stop_gives_the_terminal_back_and_going_on_takes_it_again(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    with top(server) as screen:
        screen.press("\x1a")  # ^Z
        wait_until(lambda: screen.written.endswith(LEAVE), "the screen to be given back")
        wait_until(lambda: termios.tcgetattr(screen.writer) == screen.former, "the keys to be as before")
        screen.process.send_signal(signal.SIGCONT)
        wait_until(lambda: screen.written.count(ENTER) == 2, "the screen to be taken again")
        screen.wait("q quit")
        screen.press("q")
        assert screen.ended() == 0


def test_it_goes_on_while_the_manager_is_stopped(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    server.signal(signal.SIGSTOP)
    try:
        with top(server) as screen:
            screen.wait(f"the manager {server.pid} is stopped: this is what its workers write")
            server.hold(1)
            screen.wait("GET /hold")
            server.signal(signal.SIGCONT)
            wait_until(lambda: not any("is stopped" in line for line in screen.lines), "the note to go")
            server.release()
            screen.press("q")
            assert screen.ended() == 0
    finally:
        server.signal(signal.SIGCONT)


def test_it_shows_the_last_report_of_a_pool_that_has_ended(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    with top(server) as screen:
        server.stop()
        screen.wait("no report: expected a running server with glue")
        screen.wait(f"manager {server.pid}")
        screen.press("q")
        assert screen.ended() == 0


def test_an_error_in_it_gives_the_terminal_back() -> None:
    screen = Screen("-c", "from prefork.status.top.terminal import Terminal\nwith Terminal():\n    1 / 0")
    try:
        assert screen.ended() == 1
        assert screen.process.stderr
        assert "ZeroDivisionError" in screen.process.stderr.read()
    finally:
        screen.close()


def test_away_from_a_terminal_it_is_one_plain_report(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    done = run_prefork("top", "--glue", str(server.glue))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"pool {server.glue}, manager {server.pid}," in done.stdout
    assert done.stdout.endswith(
        "prefork top: there is no terminal to draw on, so this is one report; see prefork status --watch\n"
    )
    assert "\x1b" not in done.stdout


def test_no_pool_is_one_line_and_status_2() -> None:
    done = run_prefork("top", "--glue", "prefork-unknown")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [("top",), ("status", "--watch", "0.2")])
def test_a_terminal_of_a_locale_without_the_ellipsis_gets_a_question_mark(
    pool: MakePool, command: tuple[str, ...]
) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    server.hold(1, f"/hold/{'x' * 50}")
    screen = Screen(
        *("-m", "prefork", *command, "--glue", str(server.glue)),
        size=(50, 24),
        env={"PYTHONIOENCODING": "ascii"},
    )
    try:
        screen.wait("GET /")
        wait_until(lambda: any(re.search(r"GET /.*\?$", line) for line in screen.lines), "a line that is cut")
    finally:
        screen.close()
    server.release()


# --- over an admin listener ---------------------------------------------------------------------------------


def test_it_shows_a_pool_through_its_admin_listener(pool: MakePool, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    token.chmod(0o600)
    server = pool("--admin", LOCAL, "--admin-token-file", str(token), **TWO)
    server.wait_workers(2)
    url = admin_url(server)
    refused = run_prefork("top", "--admin", url)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "refuses: 401 Unauthorized" in refused.stderr
    assert refused.stderr.count("\n") == 1
    shown = run_prefork("top", "--admin", url, "--token-file", str(token))
    assert f"pool {server.glue}, manager {server.pid}," in shown.stdout
    screen = Screen("-m", "prefork", "top", "--admin", url, "--token-file", str(token), "--interval", "0.2")
    try:
        screen.wait(f"pool {server.glue}  manager {server.pid}")
        server.hold(1)
        screen.wait("GET /hold")
        screen.press("s")
        screen.wait("An admin listener shows no stacks")
        screen.press("\x1b")
        server.signal(signal.SIGSTOP)
        screen.wait("no report: the admin listener")
        server.signal(signal.SIGCONT)
        wait_until(lambda: not any("no report" in line for line in screen.lines), "the note to go")
        server.release()
        screen.press("q")
        assert screen.ended() == 0
    finally:
        server.signal(signal.SIGCONT)
        screen.close()


def test_it_shows_a_pool_through_a_unix_socket(pool: MakePool, tmp_path: Path) -> None:
    server = pool("--admin", f"unix:{tmp_path}/admin", **TWO)
    server.wait_workers(2)
    done = run_prefork("top", "--admin", f"unix:{tmp_path}/admin")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"pool {server.glue}, manager {server.pid}," in done.stdout


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--token-file", "x"), "--token-file is for --admin"),
        (("--admin", "nowhere:y"), "expected the address of an admin listener"),
        (("--admin", "127.0.0.1:1"), "cannot be asked: Connection refused"),
        (("--admin", "127.0.0.1:1", "--token-file", "/none"), "/none cannot be read: No such file"),
        (("--interval", "0"), "0.0 is not in the range"),
    ],
)
def test_a_wrong_use_is_one_line_and_status_2(flags: tuple[str, ...], says: str) -> None:
    done = run_prefork("top", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
