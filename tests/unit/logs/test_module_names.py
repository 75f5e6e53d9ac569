"""Modules by the names that users know."""

from __future__ import annotations

import sys
import types

import pytest

from prefork.logs.module_names import module_of


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A file that is served, with a function, a class and an object."""
    module = types.ModuleType("__target__")
    monkeypatch.setitem(sys.modules, "__target__", module)
    exec("def pay(): ...\nclass Cart: ...\ncart = Cart()", vars(module))
    return module


def test_a_file_that_is_served_has_the_name_of_the_file(
    shop: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shop", shop)
    assert [module_of(one) for one in (shop.pay, shop.Cart, shop.cart)] == ["shop"] * 3


def test_one_that_has_no_other_name_has_its_own(shop: types.ModuleType) -> None:
    assert module_of(shop.pay) == "__target__"


def test_what_tells_no_module_has_that_of_its_class() -> None:
    assert module_of(5) == "builtins"
    assert module_of(types.SimpleNamespace(__module__=None)) == "types"


def test_other_names_of_a_library_are_not_looked_for() -> None:
    import os.path

    assert module_of(os.path.join) == "posixpath"
