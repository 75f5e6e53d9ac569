from __future__ import annotations

import pytest

from prefork.errors import OptionError, UnknownEvent, UnknownSession
from prefork.kernel.events import event
from prefork.kernel.kernel import Kernel, Session


class Pages(Session):
    alias = "PAGES"

    def __init__(self) -> None:  # on purpose without super().__init__()
        self.recorded: list[object] = []

    @event
    def plain(self, *args: object) -> None:
        self.recorded.append(args)

    @event("GOT_MAIN")
    def main(self, *args: object) -> str:
        return f"main{args}"

    def not_an_event(self) -> None:
        raise AssertionError


def test_events_are_found_under_their_names() -> None:
    pages = Pages()
    assert pages.handler("plain") == pages.plain
    assert pages.handler("GOT_MAIN") == pages.main
    assert pages.handler("main") is None
    assert pages.handler("not_an_event") is None


def test_a_subclass_inherits_overrides_and_adds_events() -> None:
    class Mixin:
        @event
        def mixed(self) -> str:
            return "mixed"

    class More(Mixin, Pages):
        def plain(self, *args: object) -> None:
            self.recorded.append(("overridden", *args))

        @event
        def more(self) -> str:
            return "more"

    kernel = Kernel()
    more = kernel.add(More())
    kernel.call("PAGES", "plain")
    assert more.recorded == [("overridden",)]
    assert kernel.call("PAGES", "mixed") == "mixed"
    assert kernel.call("PAGES", "more") == "more"
    assert kernel.call("PAGES", "GOT_MAIN", 1) == "main(1,)"
    assert Pages().handler("more") is None


def test_two_objects_of_one_class_share_nothing() -> None:
    one, other = Pages(), Pages()
    one.handler("plain")(1)  # type: ignore[misc]
    assert (one.recorded, other.recorded) == ([(1,)], [])


def test_post_to_oneself_is_queued() -> None:
    kernel = Kernel()
    pages = kernel.add(Pages())
    assert pages.post("plain", 1)
    assert not pages.post("nothing")
    assert pages.recorded == []
    kernel.run()
    assert pages.recorded == [(1,)]


def test_any_number_of_aliases() -> None:
    kernel = Kernel()
    pages = kernel.add(Pages())
    pages.alias_set("OTHER")
    pages.alias_set("OTHER")
    assert kernel.find("PAGES") is kernel.find("OTHER") is pages
    pages.alias_remove("PAGES")
    assert kernel.find("PAGES") is None
    assert kernel.post("OTHER", "plain")
    with pytest.raises(UnknownSession, match="no alias 'PAGES'"):
        pages.alias_remove("PAGES")


def test_an_alias_has_one_holder() -> None:
    kernel = Kernel()
    pages = kernel.add(Pages())
    with pytest.raises(OptionError, match="'PAGES' belongs to a Pages"):
        kernel.add(Pages())
    other = kernel.session("OTHER", {})
    with pytest.raises(OptionError, match="'OTHER'"):
        pages.alias_set("OTHER")
    with pytest.raises(UnknownSession):
        pages.alias_remove("OTHER")
    assert kernel.find("OTHER") is other


def test_an_object_may_choose_its_alias() -> None:
    kernel = Kernel()
    pages = Pages()
    pages.alias = "MINE"
    kernel.add(pages)
    assert kernel.find("MINE") is pages
    assert kernel.find("PAGES") is None


def test_delay_is_one_timer_for_each_event_name() -> None:
    kernel = Kernel()
    pages = kernel.add(Pages())
    first = pages.delay("plain", 0.001, "first")
    second = pages.delay("plain", 0.002, "second")
    pages.delay("GOT_MAIN", 0.001)
    assert first is not None
    assert second is not None
    assert second.when > first.when
    kernel.run()
    assert pages.recorded == [("second",)]


def test_delay_without_seconds_clears_the_timer() -> None:
    kernel = Kernel()
    pages = kernel.add(Pages())
    pages.delay("plain", 0.001)
    assert pages.delay("plain") is None
    assert pages.delay("plain") is None
    kernel.run()
    assert pages.recorded == []


def test_delay_may_be_set_again_when_it_rings() -> None:
    class Ticker(Session):
        ticks = 0
        set_timers = 0

        @event
        def tick(self) -> None:
            self.ticks += 1
            self.set_timers += len(self.kernel._timers)
            if self.ticks < 3:
                self.delay("tick", 0.001)

    kernel = Kernel()
    ticker = kernel.add(Ticker())
    ticker.delay("tick", 0)
    kernel.run()
    assert (ticker.ticks, ticker.set_timers) == (3, 0)


def test_delay_of_an_unknown_event_is_refused() -> None:
    pages = Kernel().add(Pages())
    with pytest.raises(UnknownEvent, match="session PAGES has no event 'nothing'; it has GOT_MAIN, plain"):
        pages.delay("nothing", 1)
