"""Each option of a pool, in a running one."""

from __future__ import annotations

import itertools
import re
import time

from support.pool import MakePool
from support.responses import read_response
from support.server import status_json
from support.waiting import wait_until


def test_startservers_is_how_many_it_begins_with(pool: MakePool) -> None:
    server = pool(start_servers=7, min_spare_servers=1, max_spare_servers=9)
    assert len(server.wait_workers(7)) == 7


def test_startservers_0_means_no_pool_and_this_process_serves(pool: MakePool) -> None:
    server = pool(start_servers=0, fork_handlers={"PAGES": "forked"})
    assert server.get("/pid") == str(server.pid).encode()
    assert server.glue is None
    assert server.manager("server.workers") == []
    assert server.manager("server.is_child()") is False
    assert server.manager("pages.forks") == []
    assert server.stop() == 0
    assert server.log.count("\n") == 0, server.log


def test_minspareservers_are_spare_at_once_whatever_it_started_with(pool: MakePool) -> None:
    server = pool(start_servers=1, min_spare_servers=4, max_spare_servers=6)
    server.wait_spares(4)


def test_minspareservers_0_still_keeps_one(pool: MakePool) -> None:
    server = pool(start_servers=1, min_spare_servers=0, max_spare_servers=1, check_spares_interval=30)
    server.wait_spares(1)
    began = time.monotonic()
    server.hold(1)
    wait_until(lambda: server.totals["active"] == 1, "one held")
    server.wait_spares(1)
    print(f"the next spare {(time.monotonic() - began) * 1000:.0f} ms after the only one was taken")


def test_maxspareservers_are_kept_and_one_more_leaves_at_each_checksparesinterval(pool: MakePool) -> None:
    server = pool(
        start_servers=6, min_spare_servers=1, max_spare_servers=3, check_spares_interval=0.8, max_clients=6
    )
    began = time.monotonic()
    left: list[float] = []

    def watch() -> bool:
        died: int = server.status()["manager"]["died"]
        left.extend([time.monotonic() - began] * (died - len(left)))
        return died == 3

    wait_until(watch, "three workers left")
    print("left after", [round(moment, 2) for moment in left])
    for earlier, later in itertools.pairwise(left):
        assert later - earlier > 0.2, "one for each interval, seen a little late on a busy machine"
    server.wait_workers(3)
    assert server.status()["manager"]["forked"] == 6
    assert len(server.manager("server.workers")) == 3


def test_maxspareservers_below_the_minimum_is_one_above_it_with_a_warning(pool: MakePool) -> None:
    server = pool(min_spare_servers=3, max_spare_servers=2, start_servers=4, check_spares_interval=0.05)
    assert "max_spare_servers 2 is below min_spare_servers 3: using 4" in server.log
    assert server.manager("server.options.max_spare_servers") == 4
    server.wait_spares(4)


def test_maxclients_is_never_exceeded(pool: MakePool) -> None:
    server = pool(start_servers=2, min_spare_servers=2, max_spare_servers=4, max_clients=5)
    server.hold(4)
    wait_until(lambda: server.totals["active"] == 4, "four held")
    server.wait_workers(5)
    server.hold(3)
    wait_until(lambda: server.totals["active"] == 5, "all of them busy")
    assert server.status()["manager"]["forked"] == 5
    assert len(server.release()) == 7
    assert server.status()["manager"]["forked"] == 5


def test_startservers_never_exceeds_maxclients(pool: MakePool) -> None:
    server = pool(start_servers=9, max_clients=3)
    server.wait_workers(3)
    assert server.status()["manager"]["forked"] == 3


def test_maxrequestsperchild_replaces_a_worker_that_served_so_many(pool: MakePool) -> None:
    server = pool(start_servers=1, min_spare_servers=1, max_clients=1, max_requests_per_child=5)
    served: dict[bytes, int] = {}
    while len(served) < 4:
        pid = server.get("/pid")
        served[pid] = served.get(pid, 0) + 1
    assert all(count >= 5 for count in list(served.values())[:-1]), "until another one is ready"
    assert "ERROR" not in server.log


def test_maxrequestsperchild_keeps_a_connection_that_outlives_its_workers(pool: MakePool) -> None:
    server = pool(start_servers=1, min_spare_servers=1, max_clients=1, max_requests_per_child=3)
    with server.connect() as sock:
        pids: list[bytes] = []
        while len(set(pids)) < 3:
            sock.sendall(b"GET /pid HTTP/1.1\r\nHost: x\r\n\r\n")
            status, fields, pid = read_response(sock)
            assert (status, fields.get("connection")) == (200, None)
            pids.append(pid)
    assert all(pids.count(pid) >= 3 for pid in set(pids[:-1])), pids


def test_max_requests_jitter_lets_workers_serve_up_to_so_many_more(pool: MakePool) -> None:
    server = pool(
        start_servers=1, min_spare_servers=1, max_clients=1, max_requests_per_child=2, max_requests_jitter=6
    )
    served: dict[bytes, int] = {}

    def whole() -> list[int]:
        """What the workers have served that were replaced."""
        pid = server.get("/pid")
        served[pid] = served.get(pid, 0) + 1
        return list(served.values())[:-1]

    wait_until(lambda: len(set(whole())) > 1, "workers that have served more than others")
    assert all(count >= 2 for count in whole())


def test_ipc_glue_is_where_the_pool_is_found(pool: MakePool) -> None:
    server = pool("--glue", "prefork-test-glue", ipc_glue="theirs", start_servers=2, min_spare_servers=2)
    assert server.glue == "prefork-test-glue"
    assert server.manager("server.glue") == "prefork-test-glue"
    assert status_json("prefork-test-glue")["manager"]["pid"] == server.pid


def test_ipc_glue_is_unique_if_not_said(pool: MakePool) -> None:
    first, second = pool(start_servers=1), pool(start_servers=1)
    assert first.glue
    assert second.glue
    assert first.glue != second.glue


def test_debugsb_logs_actives_spares_and_each_pid(pool: MakePool) -> None:
    server = pool(start_servers=2, min_spare_servers=2, max_spare_servers=2, debug_scoreboard=True)
    line = server.wait_log("actives 0, spares 2")
    states = re.findall(r"(\d+) = (\w+)", line)
    assert sorted(states) == sorted((str(pid), "spare") for pid in server.workers())


def test_concurrency_is_how_many_requests_at_once_make_a_worker_active(pool: MakePool) -> None:
    server = pool(start_servers=1, min_spare_servers=1, max_spare_servers=1, max_clients=1, concurrency=3)
    server.hold(2, "/ahold")
    wait_until(lambda: server.totals["in_flight"] == 2, "two held")
    assert server.totals["spare"] == 1
    server.hold(1, "/ahold")
    wait_until(lambda: server.totals["active"] == 1, "three make it active")
    server.release()


def test_the_options_are_also_flags_and_environment_variables(pool: MakePool) -> None:
    server = pool(
        *("--min-spare", "2", "--max-clients", "4"),
        start_servers=9,
        env={"PREFORK_START": "3", "PREFORK_MAX_SPARE": "3", "PREFORK_MIN_SPARE": "1"},
    )
    options = server.manager(
        "[getattr(server.options, name) for name in ('min_spare_servers', 'max_spare_servers', "
        "'start_servers', 'max_clients')]"
    )
    assert options == [2, 3, 3, 4]
    server.wait_workers(3)


def test_workers_n_is_a_fixed_pool(pool: MakePool) -> None:
    server = pool("--workers", "3", "--check-spares-interval", "0.05")
    assert "3 workers" in server.out[0]
    first = set(server.wait_workers(3))
    server.hold(3)
    wait_until(lambda: server.totals["active"] == 3, "all of them busy")
    server.release()
    assert set(server.wait_workers(3)) == first


def test_the_serving_line_tells_url_pid_workers_and_glue(pool: MakePool) -> None:
    server = pool("--workers", "2", "--glue", "prefork-line")
    assert server.out == [f"prefork: serving {server.url} (pid {server.pid}, 2 workers, glue prefork-line)"]
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*", server.url)
