"""Reference counts that are fixed: what has none any more, and that all else works as before."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from prefork.kernel import immortal

IS_KNOWN = sys.version_info[:2] in ((3, 12), (3, 13)) and sys.abiflags == ""
known = pytest.mark.for_python(IS_KNOWN)

PRELUDE = """
import gc, logging, sys, weakref
logging.basicConfig(format="%(message)s", level="INFO", stream=sys.stdout)
from prefork.kernel.immortal import fix_counts

COUNT = 0xFFFFFFFF

def is_fixed(one):
    return sys.getrefcount(one) == COUNT

class Holder:
    def __init__(self, held=None):
        self.held = held
"""


def run(code: str) -> str:
    """Runs code in a process of its own: what is fixed stays so."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PRELUDE + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_a_python_that_is_not_known_is_left_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    assert not immortal.fix_counts()
    (line,) = caplog.messages
    assert line.startswith("--immortal is off: CPython 3.12 and 3.13 have it, and this is 3.99: ")


def test_a_special_build_is_left_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "abiflags", "t")
    assert not immortal.fix_counts()
    assert "its reference counts are not known" in caplog.text


@pytest.mark.for_python(not IS_KNOWN)
def test_this_python_is_left_alone() -> None:
    assert "--immortal is off" in run("assert not fix_counts()")


@pytest.mark.for_python(sys.version_info[:2] == (3, 11))  # its None is counted
def test_counts_that_are_not_as_expected_are_left_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 12, 0))
    assert not immortal.fix_counts()
    assert "its reference counts are not as expected" in caplog.text


@known
def test_what_lasts_has_no_count_and_the_rest_has() -> None:
    out = run("""
        import json.decoder
        text, number, values, made = "".join(["a", " b"]), 10**30, (10**31,), Holder([10**32])
        assert fix_counts()
        for one in (Holder, Holder.__init__, Holder.__init__.__code__, json, json.decoder.JSONDecoder, text,
                    number, values, values[0], made.held[0], type(made)):
            assert is_fixed(one), one
        for one in (made, made.held, {}, [], vars(json), "".join(["c", " d"])):
            assert not is_fixed(one), one
    """)
    assert out.startswith("fixed the reference counts of ")


@known
def test_what_is_made_afterwards_is_freed() -> None:
    run("""
        fix_counts()
        gc.freeze()
        def noted(method):
            class Later(Holder):
                def method(self): return self
            one = Later()
            one.held = (one, one.method, lambda: one)
            return weakref.ref(one), weakref.ref(Later)
        both = noted(1)
        gc.collect()
        assert [reference() for reference in both] == [None, None]
    """)


@known
def test_what_was_there_and_has_a_count_is_freed() -> None:
    run("""
        ends = []
        one = Holder()
        one.held = one
        two = Holder("text")
        for held in (one, two):
            weakref.finalize(held, ends.append, len(ends))
        fix_counts()
        del one, two, held
        gc.collect()
        assert len(ends) == 2
        gc.freeze()
        gc.collect()
    """)


@known
def test_strings_can_still_be_interned_and_changed() -> None:
    run("""
        long, short = "".join(["not interned", "!"]), "".join(["x" for _ in "a"])
        fix_counts()
        assert sys.intern(long) is long
        assert sys.intern("".join(["not interned", "!"])) is long
        assert sys.intern(short) == "x"
        grown = long
        grown += "?"
        assert (long, grown) == ("not interned!", "not interned!?")
        data = {long: 1}
        del data[long]
        Holder.later = 1
        del Holder.later
        Holder.__init__.__defaults__ = (long,)
        Holder.__init__.__code__ = (lambda self, held=None: None).__code__
        assert Holder().__dict__ == {}
    """)


@known
@pytest.mark.parametrize("end", ["", "sys.exit(0)", "os._exit(0)", "os.kill(os.getpid(), 0)"])
def test_a_process_ends_well(end: str) -> None:
    """With all that an application imports, in the parent and in a child that finalizes the interpreter."""
    run(f"""
        import os, asyncio, sqlite3, ssl, decimal, datetime, typing, dataclasses, enum, threading
        import django.db.models, fastapi, pydantic
        class Model(pydantic.BaseModel):
            name: str
        fix_counts()
        gc.freeze()
        pid = os.fork()
        Model(name="x").model_dump()
        asyncio.run(asyncio.sleep(0))
        threading.Thread(target=gc.collect).start()
        for _ in range(3):
            exec(compile("class New(Holder):\\n  def f(self): return 'text'\\nNew().f()", "x", "exec"))
        gc.collect()
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
        {end}
    """)
