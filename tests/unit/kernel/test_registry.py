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
    assert registry.aliases == {"PAGE": page}


def test_a_removed_session_leaves_the_others_as_they_are(registry: Registry[Page]) -> None:
    one, other = named("ONE", Equal), named("OTHER", Equal)
    registry.add(one)
    registry.add(other)
    registry.name(one, "FIRST")
    registry.remove(one)
    assert [page is other for page in registry.sessions] == [True]
    assert list(registry.aliases) == ["OTHER"]


def test_a_session_starts_and_stops_once(registry: Registry[Page]) -> None:
    one, other = named("ONE", Equal), named("OTHER", Equal)
    assert [registry.start(one), registry.start(one), registry.start(other)] == [True, False, True]
    assert [page is one for page in registry.started] == [True, False]
    assert [registry.stop(one), registry.stop(one)] == [True, False]
    assert [page is other for page in registry.started] == [True]
