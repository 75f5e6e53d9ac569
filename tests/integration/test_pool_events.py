"""The events of a pool, and the methods of the same meaning: in the manager and in its workers."""

from __future__ import annotations

import signal

import pytest

from support.pool import MakePool, Pool
from support.waiting import wait_until

TWO = {"start_servers": 2, "min_spare_servers": 2, "max_spare_servers": 2, "max_clients": 8}


def test_forkhandlers_are_called_in_every_worker_before_it_accepts(pool: MakePool) -> None:
    server = pool(**TWO, fork_handlers={"PAGES": "forked"})
    server.wait_workers(2)
    server.hold(1, "/ahold")
    wait_until(lambda: server.totals["active"] == 1, "one worker held")
    server.wait_workers(3)
    seen = {tuple(server.worker("pages.forks + [os.getpid()]")) for _ in range(20)}
    assert seen
    for handler, pid in seen:
        assert handler == f"forked in {pid}"
    assert server.manager("pages.forks") == []


def test_forkhandlers_may_be_asynchronous_and_are_waited_for(pool: MakePool) -> None:
    server = pool(
        **TWO,
        fork_handlers={"LATE": "forked_slowly", "PAGES": "forked"},
        more="pages.alias_set('LATE')",
    )
    assert server.worker("pages.forks == [f'forked slowly in {os.getpid()}', f'forked in {os.getpid()}']")


def test_a_worker_is_no_spare_until_its_forkhandlers_are_done(pool: MakePool) -> None:
    server = pool(
        **TWO,
        ready=False,
        fork_handlers={"PAGES": "begin"},
        app="pool_boot.py",
        parameters={"begin": "waits for go"},
    )
    wait_until(lambda: server.totals["starting"] == 2)
    with server.connect() as sock:
        sock.sendall(b"GET /pid HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert server.totals["starting"] == 2
        (server.directory / "go").touch()
        assert sock.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("handlers", [{"NOBODY": "forked"}, {"PAGES": "nothing"}])
def test_forkhandlers_that_do_not_exist_are_one_line_and_status_2(
    pool: MakePool, handlers: dict[str, str]
) -> None:
    with pytest.raises(AssertionError, match=r"exit status 2: prefork: fork_handlers: [^\n]*$"):
        pool(**TWO, fork_handlers=handlers)


def test_ischild_is_true_in_a_worker_and_false_in_the_manager(pool: MakePool) -> None:
    server = pool(**TWO)
    assert server.manager("[server.is_child(), kernel.call('HTTPD', 'ISCHILD')]") == [False, False]
    assert server.worker("[server.is_child(), kernel.call('HTTPD', 'ISCHILD')]") == [True, True]


@pytest.mark.parametrize("where", ["manager", "worker"])
def test_getforkhandlers_posts_a_copy(pool: MakePool, where: str) -> None:
    server = pool("--workers", "1", **TWO, fork_handlers={"PAGES": "forked"})
    ask = getattr(server, where)
    assert ask("kernel.post('HTTPD', 'GETFORKHANDLERS', 'PAGES', 'record')") is True
    assert wait_until(lambda: ask("pages.reported"), "the post") == [[{"PAGES": "forked"}]]
    ask("pages.reported[0][0].clear()")
    assert ask("server.get_fork_handlers()") == {"PAGES": "forked"}


def hold_all(server: Pool, pids: set[int]) -> None:
    """Holds requests until each of these workers has one. A new worker may take some of them."""
    for count in range(1, TWO["max_clients"] + 1):
        if pids <= set(server.workers("active")):
            return
        server.hold(1)
        wait_active(server, count)


def wait_active(server: Pool, count: int) -> None:
    wait_until(lambda: server.totals["active"] == count, f"{count} requests held")


def test_setforkhandlers_in_the_manager_counts_for_new_workers(pool: MakePool) -> None:
    server = pool(**TWO)
    old = set(server.wait_workers(2))
    assert server.manager("kernel.call('HTTPD', 'SETFORKHANDLERS', {'PAGES': 'forked'})") is True
    assert server.manager("server.get_fork_handlers()") == {"PAGES": "forked"}
    hold_all(server, old)
    assert server.worker("pages.forks == [f'forked in {os.getpid()}']") is True


def test_setforkhandlers_with_replace_reaches_running_workers(pool: MakePool) -> None:
    server = pool(**TWO)
    old = set(server.wait_workers(2))
    assert server.manager("kernel.call('HTTPD', 'SETFORKHANDLERS', {'PAGES': 'forked'}, True)") is True
    wait_until(lambda: old.isdisjoint(server.workers()), "the old ones to go")
    assert server.worker("pages.forks == [f'forked in {os.getpid()}']") is True


@pytest.mark.parametrize("target", ["pages", "pages.id"])
def test_a_session_and_its_id_are_as_good_as_an_alias(pool: MakePool, target: str) -> None:
    server = pool(**TWO)
    old = set(server.wait_workers(2))
    assert server.manager(f"kernel.call('HTTPD', 'REGISTER', {target}, 'record')") is True
    assert server.manager(f"kernel.call('HTTPD', 'REGISTER', {target}, 'record')") is True
    assert server.manager(f"kernel.call('HTTPD', 'SETFORKHANDLERS', {{{target}: 'forked'}}, True)") is True
    wait_until(lambda: old.isdisjoint(server.workers()), "the old ones to go")
    assert server.worker("pages.forks == [f'forked in {os.getpid()}']") is True
    reported = server.manager("pages.reported")
    assert all(reported.count(report) == 1 for report in reported), "registered once"
    assert server.worker(f"kernel.post('HTTPD', 'GETHANDLERS', {target}, 'record')") is True


@pytest.mark.parametrize("how", ["TERM", "SHUTDOWN", "stop"])
def test_the_closed_hook_is_called_once_and_in_the_manager(pool: MakePool, how: str) -> None:
    server = pool(**TWO, app="pool_closed.py")
    manager, port = server.manager("os.getpid()"), server.port
    if how == "TERM":
        server.signal(signal.SIGTERM)
    elif how == "SHUTDOWN":
        server.manager("kernel.post('HTTPD', 'SHUTDOWN')")
        wait_until(lambda: any(line.startswith("closed") for line in server.out), "the hook")
    if how != "TERM":
        server.manager("kernel.stop()")
    assert server.wait() == 0
    closed = [line for line in server.out if line.startswith("closed")]
    assert closed == [f"closed in {manager}: 127.0.0.1:{port}"]


def test_setforkhandlers_is_refused_in_a_child(pool: MakePool) -> None:
    server = pool(**TWO)
    assert server.worker("server.set_fork_handlers({'PAGES': 'forked'})") is False
    assert "SETFORKHANDLERS is refused in a worker" in server.wait_log("refused")
    assert server.worker("kernel.call('HTTPD', 'SETFORKHANDLERS', {'PAGES': 'forked'})") is False
    assert server.manager("server.get_fork_handlers()") == {}


@pytest.mark.parametrize("value", ["['PAGES']", "'PAGES'", "None", "{'PAGES': 1}", "{'NOBODY': 'forked'}"])
def test_setforkhandlers_is_refused_when_it_is_no_hash_of_events(pool: MakePool, value: str) -> None:
    server = pool(**TWO, fork_handlers={"PAGES": "forked"})
    assert server.manager(f"server.set_fork_handlers({value})") is False
    server.wait_log("ERROR prefork.pool: SETFORKHANDLERS: ")
    assert server.manager("server.get_fork_handlers()") == {"PAGES": "forked"}


def test_sethandlers_in_the_manager_counts_for_new_workers(pool: MakePool) -> None:
    server = pool(**TWO, max_requests_per_child=6)
    more = "[{'dir': '^/new', 'session': 'PAGES', 'event': 'one'}, *HANDLERS]"
    assert server.request("/new")[0] == 404
    assert server.manager(f"kernel.call('HTTPD', 'SETHANDLERS', {more})") is True
    assert server.request("/new")[0] == 404, "running workers keep what they were forked with"
    wait_until(lambda: server.request("/new")[0] == 200, "new workers")


def test_sethandlers_is_refused_in_a_child(pool: MakePool) -> None:
    server = pool("--workers", "1", **TWO)
    assert server.worker("server.set_handlers([])") is False
    assert "SETHANDLERS is refused in a worker" in server.wait_log("refused")
    assert server.worker("kernel.call('HTTPD', 'SETHANDLERS', [])") is False
    assert server.get("/one") == b"one"


def test_register_hears_of_every_worker(pool: MakePool) -> None:
    server = pool(**TWO, more="server.register('PAGES', 'record')\n")
    pids = sorted(server.wait_workers(2))
    wait_until(lambda: len(server.manager("pages.reported")) == 4, "two forked and two spare")
    reported = server.manager("pages.reported")
    assert sorted(reported[:2]) == [["forked", pid] for pid in pids]
    assert sorted(reported[2:]) == [["spare", pid] for pid in pids]
    server.manager("os.kill(server.workers[0], 9)")
    wait_until(lambda: len(server.manager("pages.reported")) == 7, "one died")
    reported = server.manager("pages.reported")
    assert reported[4][0] == "died"
    assert reported[4][1] in pids
    assert [reported[5][0], reported[6][0]] == ["forked", "spare"]
    assert reported[5][1] == reported[6][1]
    assert reported[5][1] not in pids


def test_register_is_also_an_event(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    server.manager("kernel.post('HTTPD', 'REGISTER', 'PAGES', 'record')")
    server.manager("os.kill(server.workers[0], 9)")
    wait_until(
        lambda: server.manager("[what for what, pid in pages.reported]") == ["died", "forked", "spare"],
        "news",
    )


def test_workers_are_listed_oldest_first(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    oldest = server.manager("server.workers[0]")
    server.manager("os.kill(server.workers[1], 9)")
    wait_until(lambda: server.status()["manager"]["forked"] == 3, "the next one")
    server.wait_workers(2)
    assert server.manager("server.workers[0]") == oldest
