"""The manager's table of workers: plain data, so no process is made here and no time passes."""

from __future__ import annotations

import math
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.kernel.run import BROKEN
from prefork.pool.policy import Slot, State
from prefork.pool.policy_state import EARLY_S
from prefork.pool.workers import Exit, Workers

EMPTY, STARTING, SPARE, ACTIVE, DRAINING = State


@pytest.fixture
def workers() -> Workers:
    return Workers(4)


def add(workers: Workers, pid: int = 100, now: float = 10.0, generation: int = 1) -> int:
    """A worker that was requested and has come; its slot."""
    index = workers.request(generation, now)
    assert index is not None
    workers.register(index, pid, now)
    return index


def states_of(workers: Workers) -> dict[int, State]:
    return {slot.index: slot.state for slot in workers.slots()}


# --- coming -------------------------------------------------------------------------------------------------


def test_a_new_table_is_empty(workers: Workers) -> None:
    assert workers.is_empty
    assert (workers.slots(), workers.pids, list(workers)) == ([], [], [])
    assert (workers.spawned, workers.died, workers.boot_failed) == (0, 0, 0)


def test_a_requested_worker_counts_as_starting_before_it_exists(workers: Workers) -> None:
    index = workers.request(generation=3, now=10.0)
    assert index is not None
    assert workers.slots() == [Slot(index, STARTING, 3, 10.0)]
    assert workers.is_waiting
    assert not workers.is_empty
    assert (workers.pids, list(workers)) == ([], [])
    assert workers.spawned == 0


@given(st.lists(st.sampled_from(State), max_size=20))
def test_a_worker_does_not_go_back_whatever_it_writes(written: list[State]) -> None:
    workers = Workers(1)
    index = add(workers)
    order = {STARTING: 0, SPARE: 1, ACTIVE: 1, DRAINING: 2}
    seen = [STARTING]
    booted = 0
    for now, state in enumerate(written, 11):
        booted += len(workers.update([state], now))
        seen.append(states_of(workers)[index])
    assert [order[state] for state in seen] == sorted(order[state] for state in seen)
    assert booted <= 1


def test_it_is_as_old_as_its_process(workers: Workers) -> None:
    index = workers.request(1, 10.0)
    assert index is not None
    workers.register(index, 100, 12.0)
    assert workers.slots() == [Slot(index, STARTING, 1, 12.0)]
    assert not workers.is_waiting
    assert workers.pids == [100]
    assert workers.spawned == 1


def test_a_request_that_is_withdrawn_leaves_nothing(workers: Workers) -> None:
    index = workers.request(1, 10.0)
    assert index is not None
    workers.withdraw(index)
    assert workers.is_empty
    assert not workers.is_waiting
    assert (workers.spawned, workers.died) == (0, 0)
    assert workers.request(1, 10.0) == index


def test_a_requested_worker_that_ends_before_it_begins_is_a_failed_start(workers: Workers) -> None:
    index = workers.request(1, 10.0)
    assert index is not None
    workers.withdraw(index, failed=True)
    assert (workers.boot_failed, workers.died, workers.is_empty) == (1, 0, True)


def test_each_worker_has_a_slot_of_its_own_and_there_are_no_more_than_slots(workers: Workers) -> None:
    slots = [workers.request(1, 10.0) for _ in range(4)]
    assert set(slots) == {0, 1, 2, 3}
    assert workers.request(1, 10.0) is None


def test_pids_are_named_oldest_first(workers: Workers) -> None:
    add(workers, 100, now=12.0)
    add(workers, 101, now=10.0)
    add(workers, 102, now=11.0)
    assert workers.pids == [101, 102, 100]


# --- the states they write ----------------------------------------------------------------------------------


def test_states_are_taken_from_the_scoreboard_by_slot(workers: Workers) -> None:
    first, second = add(workers, 100), add(workers, 101)
    board = bytearray(4)
    board[first], board[second] = SPARE, ACTIVE
    workers.update(board, 11.0)
    assert states_of(workers) == {first: SPARE, second: ACTIVE}


def test_a_worker_boots_once(workers: Workers) -> None:
    index = add(workers)
    assert workers.update([STARTING] * 4, 11.0) == []
    assert [worker.index for worker in workers.update([ACTIVE] * 4, 12.0)] == [index]
    assert workers.update([SPARE] * 4, 13.0) == []


def test_one_that_is_only_requested_has_no_state_yet(workers: Workers) -> None:
    index = workers.request(1, 10.0)
    assert workers.update([EMPTY] * 4, 11.0) == []
    assert states_of(workers) == {index: STARTING}


def test_one_that_empties_its_slot_is_leaving_it(workers: Workers) -> None:
    index = add(workers)
    assert workers.update([EMPTY] * 4, 11.0) != [], "it has booted, or it would have ended"
    assert states_of(workers) == {index: DRAINING}
    assert workers.next_overdue_drain(5.0, 2.0) == 16.0


def test_what_was_told_to_end_drains_whatever_it_writes(workers: Workers) -> None:
    index = add(workers)
    workers.tell(index, signal.SIGTERM, 11.0)
    assert workers.update([SPARE] * 4, 12.0) == [], "it is too late to boot"
    assert states_of(workers) == {index: DRAINING}


def test_a_worker_is_outdated_once_and_serves_on(workers: Workers) -> None:
    index = add(workers)
    workers.update([ACTIVE] * 4, 11.0)
    assert workers.outdate(index)
    assert not workers.outdate(index)
    assert workers.slots() == [Slot(index, ACTIVE, 1, 10.0, outdated=True)]


def test_one_that_drains_needs_no_successor(workers: Workers) -> None:
    index = add(workers)
    workers.tell(index, signal.SIGTERM, 11.0)
    assert not workers.outdate(index)


def test_a_start_lasts_until_the_worker_was_ready(workers: Workers) -> None:
    index = add(workers, now=10.0)
    assert workers.start_s(index, 12.5) == 2.5
    workers.update([SPARE] * 4, 13.0)
    assert workers.start_s(index, 100.0) == 3.0


# --- what is due --------------------------------------------------------------------------------------------


def test_a_boot_is_overdue_after_its_timeout(workers: Workers) -> None:
    index = add(workers, now=10.0)
    assert workers.overdue_boots(12.0, 2.0) == []
    assert [worker.index for worker in workers.overdue_boots(12.1, 2.0)] == [index]
    workers.fail_boot(index, 12.1)
    assert workers.boot_failed == 1
    assert workers.overdue_boots(13.0, 2.0) == [], "it is killed once"
    assert workers.overdue_drains(math.inf, 2.0, 1.0) == []


def test_what_has_booted_or_does_not_exist_yet_is_not_overdue(workers: Workers) -> None:
    add(workers, now=10.0)
    workers.update([SPARE] * 4, 11.0)
    workers.request(1, 10.0)
    assert workers.overdue_boots(100.0, 2.0) == []


@pytest.mark.parametrize("signalled", [True, False])
def test_a_drain_is_overdue_after_its_timeout_signalled_or_not(workers: Workers, signalled: bool) -> None:
    index = add(workers)
    assert workers.next_overdue_drain(5.0, 2.0) == math.inf
    if signalled:
        workers.tell(index, signal.SIGTERM, 20.0)
    else:
        workers.update([DRAINING] * 4, 20.0)
    workers.update([DRAINING] * 4, 21.0)
    assert workers.next_overdue_drain(5.0, 2.0) == 25.0, "from when it began, not from when it was last seen"
    assert workers.overdue_drains(24.9, 5.0, 2.0) == []
    assert [worker.index for worker in workers.overdue_drains(25.0, 5.0, 2.0)] == [index]


def test_what_drained_before_it_was_told_has_its_time_from_then(workers: Workers) -> None:
    index = add(workers)
    workers.update([DRAINING] * 4, 20.0)
    workers.tell(index, signal.SIGTERM, 23.0)
    assert workers.next_overdue_drain(5.0, 2.0) == 25.0


def test_what_is_killed_is_not_overdue_again(workers: Workers) -> None:
    index = add(workers)
    workers.tell(index, signal.SIGTERM, 20.0)
    workers.tell(index, signal.SIGKILL, 25.0)
    assert workers.overdue_drains(100.0, 5.0, 2.0) == []
    assert workers.next_overdue_drain(5.0, 2.0) == math.inf


def test_the_next_drain_to_be_overdue_is_the_earliest(workers: Workers) -> None:
    for since in (22.0, 20.0, 21.0):
        index = add(workers, int(since))
        workers.update([SPARE] * 4, since)
        workers.tell(index, signal.SIGTERM, since)
    assert workers.next_overdue_drain(5.0, 2.0) == 25.0


def test_a_startup_that_goes_on_is_overdue_earlier_until_it_is_over(workers: Workers) -> None:
    index = add(workers)
    workers.tell(index, signal.SIGTERM, 20.0)
    workers.update([STARTING] * 4, 21.0)
    assert workers.next_overdue_drain(5.0, 2.0) == 22.0
    assert [worker.index for worker in workers.overdue_drains(22.0, 5.0, 2.0)] == [index]
    workers.update([DRAINING] * 4, 21.9)
    assert workers.next_overdue_drain(5.0, 2.0) == 25.0
    assert workers.overdue_drains(22.0, 5.0, 2.0) == []


# --- the end ------------------------------------------------------------------------------------------------


def test_a_reaped_worker_frees_its_slot(workers: Workers) -> None:
    index = add(workers)
    workers.reap(index, SPARE, 0, 20.0)
    assert workers.is_empty
    assert workers.died == 1
    assert workers.request(1, 20.0) == index


@pytest.mark.parametrize(
    ("signum", "status", "end"),
    [
        (signal.SIGTERM, 0, Exit.EXPECTED),
        (signal.SIGTERM, -signal.SIGTERM, Exit.EXPECTED),
        (signal.SIGKILL, -signal.SIGKILL, Exit.EXPECTED),
        (signal.SIGTERM, 3, Exit.UNCLEAN),
        (signal.SIGTERM, -signal.SIGSEGV, Exit.UNCLEAN),
    ],
)
def test_one_that_was_told_to_end_is_expected_to_end_well(
    workers: Workers, signum: int, status: int, end: Exit
) -> None:
    index = add(workers)
    workers.tell(index, signum, 11.0)
    assert workers.reap(index, STARTING, status, 12.0) is end
    assert workers.boot_failed == 0


@pytest.mark.parametrize(
    ("status", "now", "end"),
    [(0, 20.0, Exit.EXPECTED), (0, 10.1, Exit.LEFT), (1, 20.0, Exit.UNCLEAN), (1, 10.1, Exit.EARLY)],
)
def test_one_that_drained_by_itself_too(workers: Workers, status: int, now: float, end: Exit) -> None:
    index = add(workers)
    workers.update([SPARE] * 4, 10.0)
    assert workers.reap(index, DRAINING, status, now) is end


@pytest.mark.parametrize("status", [0, 3, -signal.SIGKILL])
def test_one_that_was_never_ready_failed_to_boot(workers: Workers, status: int) -> None:
    assert workers.reap(add(workers), STARTING, status, 100.0) is Exit.BOOT_FAILED
    assert workers.boot_failed == workers.died == 1


def test_one_that_became_ready_after_the_last_look_has_booted(workers: Workers) -> None:
    assert workers.reap(add(workers), SPARE, 1, 100.0) is Exit.EARLY


def test_one_that_says_it_starts_again_has_booted_all_the_same(workers: Workers) -> None:
    index = add(workers)
    workers.update([SPARE] * 4, 11.0)
    assert workers.reap(index, STARTING, 1, 100.0) is Exit.DIED


@pytest.mark.parametrize(("age_s", "end"), [(EARLY_S / 2, Exit.EARLY), (EARLY_S * 2, Exit.DIED)])
def test_one_that_drains_with_unusable_descriptors_did_not_end_as_expected(
    workers: Workers, age_s: float, end: Exit
) -> None:
    index = add(workers, now=10.0)
    workers.update([DRAINING] * 4, 10.0)
    assert workers.reap(index, DRAINING, BROKEN, 10.0 + age_s) is end


@pytest.mark.parametrize(
    ("age_s", "status", "end"),
    [
        (EARLY_S / 2, 4, Exit.EARLY),
        (EARLY_S / 2, 0, Exit.EARLY),
        (EARLY_S / 2, -signal.SIGSEGV, Exit.EARLY),
        (EARLY_S / 2, -signal.SIGKILL, Exit.DIED),
        (EARLY_S * 2, 4, Exit.DIED),
    ],
)
def test_one_that_ends_soon_by_itself_may_have_the_fault_of_all(
    workers: Workers, age_s: float, status: int, end: Exit
) -> None:
    index = add(workers, now=2.0)  # what it took to start does not count
    workers.update([SPARE] * 4, 10.0)
    assert workers.reap(index, SPARE, status, 10.0 + age_s) is end
    assert workers.boot_failed == 0


def test_one_that_was_stuck_is_called_that_however_it_ends(workers: Workers) -> None:
    index = add(workers)
    workers.tell(index, signal.SIGTERM, 11.0)
    assert workers.reap(index, ACTIVE, 70, 12.0, stuck=True) is Exit.STUCK
