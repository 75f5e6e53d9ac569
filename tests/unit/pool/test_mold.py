"""Messages between a mold and its manager."""

from __future__ import annotations

import pytest

from prefork.pool.mold import LARGEST, VALUES, Word, decode, encode

MESSAGES = [
    (Word.SPAWN, 0),
    (Word.PING,),
    (Word.PONG,),
    (Word.LOADED,),
    (Word.FAILED, "it cannot be imported", "", 2),
    (Word.FORKED, 3, 1 << 22),
    (Word.LOST, 3, 11, "Resource temporarily unavailable"),
    (Word.WORKER, 63),
    (Word.BECOME,),
]


def test_each_word_has_its_values() -> None:
    assert VALUES.keys() == set(Word) == {word for word, *_ in MESSAGES}


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_decoded_as_it_was_encoded(message: tuple[Word, object]) -> None:
    assert decode(encode(*message)) == list(message)


@pytest.mark.parametrize("text", ["two\nlines", "a\0b\0", "\udc80", "\N{SNOWMAN}", "\N{PILE OF POO}" * 5000])
def test_any_text_arrives_in_one_piece(text: str) -> None:
    sent = encode(Word.FAILED, text, text, 3)
    assert len(sent) <= LARGEST
    word, what, why, status = decode(sent)
    assert (word, status) == (Word.FAILED, 3)
    assert what == why
    assert what.startswith(text[:1].encode(errors="replace").decode())


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\0",
        b"spawn",
        b"spawn\0",
        b"spawn\0one",
        b"spawn\x001\x002",
        b"spawn\x00" + b"9" * 5000,
        b"loaded\0",
        b"unknown\x001",
        b'["spawn", 1]',
        b"\xff\xfe",
    ],
)
def test_what_is_no_message_is_nothing(message: bytes) -> None:
    assert decode(message) == []
