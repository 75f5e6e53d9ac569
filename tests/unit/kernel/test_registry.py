"""Sessions and their aliases, without a kernel."""

from __future__ import annotations

import pytest

from prefork.errors import OptionError, UnknownEvent, UnknownSession
from prefork.kernel.events import Recipient, event
from prefork.kernel.registry import Registry


class Page(Recipient):
    @event
    def show(self) -> str:
        return "shown"


class Equal(Page):
    """All of them are equal, and none has a hash."""

    def __eq__(self, _other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


@pytest.fixture
def registry() -> Registry[Page]:
    return Registry()


def named(alias: str | None, kind: type[Page] = Page) -> Page:
    page = kind()
    page.alias = alias
    return page


def test_a_session_is_found_by_its_alias(registry: Registry[Page]) -> None:
    page = named("PAGE")
    registry.add(page)
    registry.add(named(None))
    found, handler = registry.resolve("PAGE", "show")
    assert found is page
    assert handler() == "shown"
    assert len(registry.sessions) == 2


def test_an_unknown_session_or_event_is_named(registry: Registry[Page]) -> None:
    registry.add(named("PAGE"))
    with pytest.raises(UnknownSession, match="no session has the alias 'OTHER'; event 'show'"):
        registry.resolve("OTHER", "show")
    with pytest.raises(UnknownEvent, match="session PAGE has no event 'hide'; it has show"):
        registry.resolve("PAGE", "hide")


def test_an_alias_belongs_to_one(registry: Registry[Page]) -> None:
    page, other = named("PAGE"), named("PAGE")
    registry.add(page)
    with pytest.raises(OptionError, match="alias 'PAGE' belongs to a Page already"):
        registry.add(other)
    assert registry.sessions == [page]
    registry.name(page, "PAGE")
    registry.name(page, "SECOND")
    with pytest.raises(UnknownSession, match="has no alias 'SECOND'"):
        registry.unname(other, "SECOND")
    registry.unname(page, "SECOND")
    assert registry.targets == {"PAGE": (page, page._handlers)}


def test_a_removed_session_leaves_the_others_as_they_are(registry: Registry[Page]) -> None:
    one, other = named("ONE", Equal), named("OTHER", Equal)
    registry.add(one)
    registry.add(other)
    registry.name(one, "FIRST")
    registry.remove(one)
    assert [page is other for page in registry.sessions] == [True]
    assert list(registry.targets) == ["OTHER"]


def test_a_session_starts_and_stops_once(registry: Registry[Page]) -> None:
    one, other = named("ONE", Equal), named("OTHER", Equal)
    assert [registry.start(one), registry.start(one), registry.start(other)] == [True, False, True]
    assert [page is one for page in registry.started] == [True, False]
    assert [registry.stop(one), registry.stop(one)] == [True, False]
    assert [page is other for page in registry.started] == [True]


def test_a_session_is_found_by_its_number_and_as_itself(registry: Registry[Page]) -> None:
    page, stranger = named(None, Equal), named(None, Equal)
    registry.add(page)
    assert registry.find(page) is registry.find(page.id) is page
    assert registry.find(stranger) is registry.find(stranger.id) is registry.find(None) is None
    assert registry.resolve(page.id, "show")[0] is page
    registry.remove(page)
    assert registry.find(page) is registry.find(page.id) is None


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        (-5, "no session has the id -5; event 'show'"),
        (named("GONE"), "session GONE is not in this kernel; event 'show'"),
        (None, "None is no session: expected an alias, a session or its id"),
    ],
)
def test_what_is_no_session_is_named(registry: Registry[Page], target: object, complaint: str) -> None:
    with pytest.raises(UnknownSession, match=complaint):
        registry.resolve(target, "show")


def test_a_session_without_an_alias_is_unnamed_until_it_gets_one(registry: Registry[Page]) -> None:
    page = named("PAGE")
    registry.add(page)
    assert not registry.unnamed
    registry.name(page, "SECOND")
    registry.unname(page, "PAGE")
    assert not registry.unnamed
    registry.unname(page, "SECOND")
    assert list(registry.unnamed.values()) == [page]
    registry.name(page, "THIRD")
    assert not registry.unnamed
    registry.unname(page, "THIRD")
    registry.remove(page)
    assert not registry.unnamed


def test_a_subclass_may_have_an_id_of_its_own(registry: Registry[Page]) -> None:
    class Numbered(Page):
        id: str = "mine"  # type: ignore[assignment]

    page = Numbered()
    registry.add(page)
    assert page.id == "mine"
    assert registry.find(page) is page
