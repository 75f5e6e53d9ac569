from __future__ import annotations

import re

import pytest

from prefork.config.variables import expanded

VARIABLES = {"HOST": "db.example", "EMPTY": "", "DOLLAR": "${HOST}"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("plain", "plain"),
        ("${HOST}:80", "db.example:80"),
        ("${HOST}${HOST}", "db.exampledb.example"),
        ("${EMPTY}", ""),
        ("${EMPTY:-x}", "x"),
        ("${NONE:-}", ""),
        ("${NONE:-a:-b c}", "a:-b c"),
        ("${HOST:-x}", "db.example"),
        ("$HOST costs 5$", "$HOST costs 5$"),
        ("$$ $${HOST} $$${HOST}", "$$ ${HOST} $${HOST}"),
        ("${DOLLAR}", "${HOST}"),
        ("%({x-a}i)s", "%({x-a}i)s"),
    ],
)
def test_references_are_replaced_once(text: str, found: str) -> None:
    assert expanded(text, VARIABLES) == found


def test_texts_within_lists_and_tables_are_replaced_and_keys_are_not() -> None:
    value = {"${HOST}": ["${HOST}", 1, {"a": "${HOST}"}], "b": True}
    assert expanded(value, VARIABLES) == {"${HOST}": ["db.example", 1, {"a": "db.example"}], "b": True}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NONE}", "the variable NONE is not set; ${NONE:-...} has a default"),
        ("${HOST", "expected ${NAME} or ${NAME:-default}, got '${HOST'"),
        ("${}", "got '${}'"),
        ("${a b}", "got '${a b}'"),
        ("${HOST-x}", "got '${HOST-x}'"),
        ("${9}", "got '${9}'"),
    ],
)
def test_what_cannot_be_replaced_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        expanded(text, VARIABLES)
