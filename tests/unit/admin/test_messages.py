"""What clients of the control socket may write."""

from __future__ import annotations

import json
from typing import Any

import pytest

from prefork.admin.messages import (
    LONGEST_WAIT_S,
    Failure,
    Misuse,
    failure,
    progress,
    read_request,
    success,
    write_request,
)
from prefork.errors import OptionError


def test_a_request_is_read_as_it_was_written() -> None:
    line = write_request("scale", {"max_clients": 3}, 2.5)
    assert line.endswith(b"\n")
    found = read_request(line)
    assert (found.command, found.arguments, found.timeout_s) == ("scale", {"max_clients": 3}, 2.5)
    assert read_request(write_request("stop", {}, None)).timeout_s == LONGEST_WAIT_S


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "expected a line of JSON, got b''"),
        (b"GET / HTTP/1.1\r", "expected a line of JSON, got b'GET / HTTP/1.1"),
        (b"\xff\xfe" * 100, "expected a line of JSON"),
        (b"[" * 200_000, "expected a line of JSON"),
        (b"[1]", "expected a JSON object"),
        (b"{}", "expected version 1 of the protocol, got 'None'"),
        (b'{"version": 2, "command": "stop"}', "got '2'; use the command prefork of the version that the"),
        (b'{"version": 1}', "expected a command"),
        (b'{"version": 1, "command": "stop", "arguments": [1]}', "expected a command"),
        (b'{"version": 1, "command": "stop", "timeout_s": "1"}', "expected a timeout_s"),
        (b'{"version": 1, "command": "stop", "timeout_s": -1}', "expected a timeout_s"),
        (b'{"version": 1, "command": "stop", "timeout_s": NaN}', "expected a timeout_s"),
        (b'{"version": 1, "command": "stop", "timeout_s": Infinity}', "expected a timeout_s"),
        (b'{"version": 1, "command": "stop", "timeout_s": true}', "expected a timeout_s"),
        (b'{"version": 1, "command": "stop", "timeout_s": 1' + b"0" * 5000 + b"}", "expected a"),
    ],
)
def test_what_is_no_request_is_refused_in_one_line(line: bytes, message: str) -> None:
    with pytest.raises(Misuse) as caught:
        read_request(line)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "status"), [(Failure("late"), 1), (Misuse("wrong"), 2), (OptionError("max_clients: 0"), 2)]
)
def test_a_failure_says_whether_the_client_was_wrong(error: Any, status: int) -> None:
    found = json.loads(failure(error, 0.12345))
    assert found == {"version": 1, "ok": False, "took_s": 0.1235, "error": str(error), "status": status}


def test_responses_are_lines_of_json_with_the_version() -> None:
    for line in (success("done", {"what": {1, 2}}, 1.0), progress(1, 3, "one\nof three")):
        assert line.count(b"\n") == 1
        assert json.loads(line)["version"] == 1
