"""What a worker forgets at its beginning, because it is of the process that has forked it."""

from __future__ import annotations

import os
import weakref

from prefork.pool.ending import forget_inherited


class Thing:
    """One that can be referred to weakly."""


def test_finalizers_from_before_do_not_run_at_the_end_and_later_ones_do() -> None:
    if (pid := os.fork()) == 0:
        status = 1
        try:
            things = [Thing(), Thing(), Thing()]
            finalizers = [weakref.finalize(thing, list) for thing in things[:2]]
            forget_inherited(keeps_atexit=True)
            assert [finalizer.atexit for finalizer in finalizers] == [False, False]
            forget_inherited(keeps_atexit=True)
            finalizers.append(weakref.finalize(things[2], list))
            assert finalizers[2].atexit
            forget_inherited(keeps_atexit=True)
            assert not finalizers[2].atexit
            assert all(finalizer.alive for finalizer in finalizers)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
