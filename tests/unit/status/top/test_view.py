"""What each key does."""

from __future__ import annotations

import pytest

from prefork.status.top.view import Action, View


def pressed(*keys: str, order: tuple[int, ...] = (11, 12, 13)) -> View:
    view = View(order=order)
    for key in keys:
        assert view.press(key) is None, key
    return view


def test_q_quits_also_from_a_page() -> None:
    assert View().press("q") is Action.QUIT
    assert pressed("?").press("q") is Action.QUIT


@pytest.mark.parametrize(("keys", "sort", "reverse"), [
    ("", "slot", False), ("b", "busy", False), ("bb", "busy", True), ("bbb", "busy", False),
    ("bm", "memory", False), ("bbm", "memory", False), ("r", "requests", False), ("a", "age", False),
    ("c", "cpu", False), ("n", "slot", True),
])  # fmt: skip
def test_a_key_sorts_and_again_turns_it(keys: str, sort: str, reverse: bool) -> None:
    view = pressed(*keys)
    assert (view.sort, view.reverse) == (sort, reverse)


def test_p_pauses_and_goes_on() -> None:
    assert pressed("p").paused
    assert not pressed("p", "p").paused
    assert pressed(" ").paused


@pytest.mark.parametrize(("keys", "selected"), [
    ((), None), (("down",), 11), (("up",), 13), (("down", "down"), 12), (("end",), 13), (("j", "k"), 11),
    (("down", "page down"), 13), (("end", "home"), 11), (("end", "down"), 13), (("down", "up"), 11),
])  # fmt: skip
def test_keys_select_a_worker(keys: tuple[str, ...], selected: int | None) -> None:
    assert pressed(*keys).selected == selected


def test_a_selected_worker_that_has_gone_is_none() -> None:
    view = pressed("end")
    view.order = (11, 12)
    view.press("down")
    assert view.selected == 11


def test_the_stack_is_of_the_selected_worker_or_of_the_first() -> None:
    view = pressed("down", "down")
    assert view.press("s") is Action.STACK
    assert view.selected == 12
    view = pressed()
    assert view.press("enter") is Action.STACK
    assert view.selected == 11
    assert View().press("s") is None, "there is no worker"


def test_a_page_scrolls_within_its_text_and_closes() -> None:
    view = View()
    view.open(["one", "two", "three"])
    for key, top in (("up", 0), ("down", 1), ("page down", 2), ("down", 2), ("home", 0), ("end", 2)):
        view.press(key)
        assert view.top == top
    view.press("b")
    assert view.sort == "slot", "a page takes the keys"
    view.press("escape")
    assert view.page is None
    assert pressed("?", "?").page is None


@pytest.mark.parametrize("key", ["z", "escape", "right", "Q", ""])
def test_other_keys_do_nothing(key: str) -> None:
    assert pressed(key) == View(order=(11, 12, 13))
