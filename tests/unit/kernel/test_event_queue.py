"""The queue of posted events, as a kernel has it: what is delivered when, and to which handler."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from prefork.kernel.events import event
from prefork.kernel.kernel import Kernel, Session


class Ears(Session):
    alias = "EARS"

    def __init__(self) -> None:
        self.recorded: list[Any] = []

    @event
    def record(self, *what: Any) -> None:
        self.recorded.append(what)

    @event
    def again(self, number: int) -> None:
        self.recorded.append(number)
        if number < 3:
            assert self.kernel.post("EARS", "again", number + 1)
            assert self.recorded[-1] == number, "it comes later"


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def ears(kernel: Kernel) -> Ears:
    return kernel.add(Ears())


@pytest.mark.parametrize("args", [(), (1,), (1, "two"), ((1, 2),), (None,)])
def test_an_event_gets_its_arguments(kernel: Kernel, ears: Ears, args: tuple[Any, ...]) -> None:
    for target in ("EARS", ears, ears.id, "".join(["EA", "RS"])):
        assert kernel.post(target, "record", *args) is True
        assert kernel.call(target, "record", *args) is None
    kernel.run()
    assert ears.recorded == [args] * 8


def test_an_event_that_an_event_posts_comes_after_what_was_queued(kernel: Kernel, ears: Ears) -> None:
    kernel.post("EARS", "again", 1)
    kernel.post("EARS", "record", "queued before")
    kernel.run()
    assert ears.recorded == [1, ("queued before",), 2, 3]


def test_the_handler_at_the_delivery_counts(kernel: Kernel, ears: Ears) -> None:
    kernel.post("EARS", "record", "warm")
    kernel.post("EARS", "record", "posted")
    ears.on("record", lambda *what: ears.recorded.append(("replaced", *what)))
    kernel.post("EARS", "record", "posted later")
    kernel.run()
    assert ears.recorded == [("replaced", "warm"), ("replaced", "posted"), ("replaced", "posted later")]
    kernel.post("EARS", "record", "dropped")
    ears.off("record")
    assert not kernel.post("EARS", "record")
    kernel.run()
    assert len(ears.recorded) == 3


def test_an_alias_means_the_session_that_had_it_at_the_post(kernel: Kernel, ears: Ears) -> None:
    ears.alias_set("SHARED")
    kernel.post("SHARED", "record", "first")
    ears.alias_remove("SHARED")
    assert not kernel.post("SHARED", "record", "no session's")
    other = Ears()
    other.alias = "SHARED"
    kernel.add(other)
    kernel.post("SHARED", "record", "second")
    kernel.run()
    assert (ears.recorded, other.recorded) == ([("first",)], [("second",)])


def test_what_is_queued_for_a_session_goes_with_it(kernel: Kernel, ears: Ears) -> None:
    other = kernel.session("OTHER", {"remove": lambda: kernel.remove(ears)})
    kernel.post("OTHER", "remove")
    kernel.post("EARS", "record", "too late")
    kernel.post(other, "remove")
    kernel.remove(other)
    kernel.run()
    assert ears.recorded == [("too late",)]
    kernel.post("EARS", "record", "dropped")
    kernel.remove(ears)
    kernel.run()
    assert len(ears.recorded) == 1


@pytest.mark.parametrize("how", ["post", "call"])
def test_a_target_and_an_event_are_needed(kernel: Kernel, how: str) -> None:
    for arguments in ((), ("EARS",)):
        with pytest.raises(TypeError, match="a target and an event are needed"):
            getattr(kernel, how)(*arguments)


@pytest.mark.parametrize("target", [None, [], 1.5, object()])
def test_a_target_of_another_type_is_no_session(kernel: Kernel, target: Any) -> None:
    assert kernel.post(target, "record") is False


def test_a_subclass_of_the_kernel_may_take_arguments() -> None:
    class Named(Kernel):
        def __init__(self, name: str, *, size: int) -> None:
            super().__init__()
            self.name, self.size = name, size

    assert (Named("K", size=3).name, Named("K", size=3).size) == ("K", 3)


def test_a_kernel_that_is_not_used_any_more_is_freed() -> None:
    kernel = Kernel()
    ears = kernel.add(Ears())
    kernel.post("EARS", "record")
    kernel.run()
    kernel.post("EARS", "record", ears)  # is never delivered
    gone = weakref.ref(ears)
    del kernel, ears
    gc.collect()
    assert gone() is None
