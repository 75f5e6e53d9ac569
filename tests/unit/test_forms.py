"""Forms as browsers send them, and as others do."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.forms import MAX_FIELDS, Upload, basic_credentials, parse

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=----WebKit"


def part(head: str, value: bytes = b"value") -> bytes:
    return b"------WebKit\r\n" + head.encode() + b"\r\n\r\n" + value + b"\r\n"


def multipart(*parts: bytes) -> dict[str, list[str | Upload]]:
    return parse(MULTIPART, b"".join(parts) + b"------WebKit--\r\n")


def test_urlencoded_fields_keep_their_order_and_every_value() -> None:
    form = parse(URLENCODED, b"b=1&a=%C3%BC+%26&b=2&empty=&bare")
    assert form == {"b": ["1", "2"], "a": ["ü &"], "empty": [""], "bare": [""]}
    assert list(form) == ["b", "a", "empty", "bare"]


def test_an_empty_body_is_an_empty_form() -> None:
    assert parse(URLENCODED, b"") == {}
    assert multipart() == {}


def test_parameters_of_the_content_type_do_not_matter() -> None:
    assert parse("Application/X-WWW-Form-Urlencoded; charset=UTF-8", b"a=1") == {"a": ["1"]}


def test_a_part_is_a_field_and_one_with_a_filename_an_upload() -> None:
    form = multipart(
        part('Content-Disposition: form-data; name="a"', "grüße".encode()),
        part('content-disposition: form-data; name="a"', b""),
        part(
            'Content-Disposition: form-data; name="f"; filename="a.bin"\r\nContent-Type: image/png', b"\0\xff"
        ),
    )
    assert form == {"a": ["grüße", ""], "f": [Upload("a.bin", "image/png", b"\0\xff")]}


def test_an_upload_without_a_type_is_text() -> None:
    assert multipart(part('Content-Disposition: form-data; name="f"; filename=""', b"")) == {
        "f": [Upload("", "text/plain", b"")]
    }


def test_names_are_utf_8_as_browsers_send_them() -> None:
    form = multipart(part('Content-Disposition: form-data; name="größe"; filename="résumé %22x%22.txt"'))
    assert form == {"größe": [Upload("résumé %22x%22.txt", "text/plain", b"value")]}


@given(st.binary(max_size=200))
def test_any_content_of_a_file_comes_back_as_it_was(content: bytes) -> None:
    form = multipart(part('Content-Disposition: form-data; name="f"; filename="x"', content))
    assert form == {"f": [Upload("x", "text/plain", content)]}


@given(st.binary(max_size=200), st.sampled_from([URLENCODED, MULTIPART, "text/plain", None]))
def test_whatever_comes_is_a_form_or_a_value_error(content: bytes, content_type: str | None) -> None:
    with contextlib.suppress(ValueError):
        parse(content_type, content)


@pytest.mark.parametrize(
    ("content_type", "content", "complaint"),
    [
        (None, b"a=1", "expected a form, urlencoded or multipart, got no Content-Type"),
        ("application/json", b"{}", "expected a form, urlencoded or multipart, got application/json"),
        ("nonsense", b"", "got nonsense"),
        (URLENCODED, b"a=\xff", "utf-8"),
        (URLENCODED, b"a=%ff", "utf-8"),
        (URLENCODED, b"a&" * (MAX_FIELDS + 1), "Max number of fields"),
        ("multipart/form-data", b"", "without a boundary"),
        (MULTIPART, b"", "does not end with its boundary"),
        (MULTIPART, part('Content-Disposition: form-data; name="a"'), "does not end with its boundary"),
        (MULTIPART, part("Content-Disposition: form-data") + b"------WebKit--", "without a name"),
        (MULTIPART, b"------WebKit\r\nno head\r\n------WebKit--", "without a name"),
        (
            MULTIPART,
            part('Content-Disposition: form-data; name="a"', b"\xff") + b"------WebKit--",
            "utf-8",
        ),
        (MULTIPART, b"------WebKit\r\n" * (MAX_FIELDS + 1) + b"------WebKit--", "more than 10000 parts"),
    ],
)
def test_what_is_no_form_is_a_value_error(content_type: str | None, content: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(content_type, content)


def credentials(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "found"),
    [
        (f"Basic {credentials('Aladdin:open sesame')}", ("Aladdin", "open sesame")),
        (f"basic   {credentials('a:b')} ", ("a", "b")),
        (f"Basic {credentials('user:with:colon')}", ("user", "with:colon")),
        (f"Basic {credentials(':')}", ("", "")),
        (f"Basic {credentials('no colon')}", None),
        (f"Bearer {credentials('a:b')}", None),
        ("Basic", None),
        ("Basic !!!", None),
        (f"Basic {base64.b64encode(bytes([0xFF, 0x3A])).decode()}", None),
        ("", None),
        (None, None),
    ],
)
def test_basic_credentials(authorization: str | None, found: tuple[str, str] | None) -> None:
    assert basic_credentials(authorization) == found
