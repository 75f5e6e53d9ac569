"""Header fields as a mapping: names without case, fields in order, repeats kept."""

from __future__ import annotations

from typing import Any

import pytest

from prefork import Headers


@pytest.fixture
def headers() -> Headers:
    return Headers([("Host", "a"), ("Accept", "text/html"), ("accept", "text/plain"), ("X-One", "1")])


@pytest.mark.parametrize("name", ["Accept", "accept", "ACCEPT"])
def test_names_have_no_case(headers: Headers, name: str) -> None:
    assert headers[name] == "text/html"
    assert headers.get(name) == "text/html"
    assert headers.get_all(name) == ["text/html", "text/plain"]
    assert name in headers


def test_order_repeats_and_the_case_that_was_written_are_kept(headers: Headers) -> None:
    names = ["Host", "Accept", "accept", "X-One"]
    values = ["a", "text/html", "text/plain", "1"]
    assert headers.keys() == names
    assert headers.values() == values
    assert headers.items() == list(zip(names, values, strict=True))
    assert list(headers) == names
    assert len(headers) == 4


def test_what_is_not_there_is_none_or_the_default_or_a_key_error(headers: Headers) -> None:
    assert headers.get("Cookie") is None
    assert headers.get("Cookie", 7) == 7
    assert headers.get_all("Cookie") == []
    assert "Cookie" not in headers
    with pytest.raises(KeyError, match="Cookie"):
        headers["Cookie"]
    with pytest.raises(KeyError, match="Cookie"):
        del headers["Cookie"]


def test_setting_replaces_every_field_of_the_name_and_add_adds_one(headers: Headers) -> None:
    headers["ACCEPT"] = "*/*"
    assert headers.items() == [("Host", "a"), ("X-One", "1"), ("ACCEPT", "*/*")]
    headers.add("accept", "image/png")
    assert headers.get_all("Accept") == ["*/*", "image/png"]


def test_deleting_takes_every_field_of_the_name(headers: Headers) -> None:
    del headers["aCCept"]
    assert headers.keys() == ["Host", "X-One"]


def test_they_are_made_of_nothing_pairs_a_mapping_or_themselves(headers: Headers) -> None:
    assert len(Headers()) == 0
    assert Headers({"A": "1", "B": "2"}).items() == [("A", "1"), ("B", "2")]
    copy = Headers(headers)
    copy["Host"] = "b"
    assert headers["Host"] == "a"
    assert dict(headers) == {"Host": "a", "Accept": "text/html", "accept": "text/html", "X-One": "1"}


@pytest.mark.parametrize("wrong", [7, "ab", [("A",)], [("A", 1)], {"A": None}, [("A", "b", "c")]])
def test_what_is_not_made_of_pairs_of_text_is_refused(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Headers(wrong)


def test_only_text_is_a_name_or_a_value(headers: Headers) -> None:
    with pytest.raises(TypeError):
        headers["A"] = 1  # type: ignore[assignment]
    with pytest.raises(TypeError):
        headers.add(b"A", "1")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        headers[0]  # type: ignore[index]


def test_every_latin_1_character_survives() -> None:
    text = "".join(map(chr, range(1, 256)))
    assert Headers({"X": text})["X"] == text


def test_equal_means_the_same_fields_in_the_same_order_whatever_the_case_of_names(headers: Headers) -> None:
    assert Headers({"A": "1"}) == Headers([("a", "1")])
    assert Headers({"A": "b"}) != Headers({"A": "B"})
    assert Headers([("A", "1"), ("B", "2")]) != Headers([("B", "2"), ("A", "1")])
    assert Headers({"A": "1"}) != Headers([("A", "1"), ("A", "1")])
    assert headers != {"Host": "a"}
    with pytest.raises(TypeError, match="unhashable"):
        hash(headers)


def test_the_repr_says_what_they_are() -> None:
    assert repr(Headers({"A": "1"})) == "Headers([('A', '1')])"
