"""The live page as HTML: complete without its script, and no text of a client is markup."""

from __future__ import annotations

import html.parser
import re
from typing import Any

import pytest

from prefork.admin.page import Template, cells, policy
from prefork.admin.snapshot import COLUMNS, Sampler, Snapshot
from support.reports import NO_TIMES, report, request, worker

VOID = {"meta", "link", "input"}


class Reader(html.parser.HTMLParser):
    """The elements of a page, and its text. Each element has to be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self._open):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.texts))

    def slots(self) -> list[str]:
        """The classes of each slot."""
        return [
            str(attributes["class"])
            for tag, attributes in self.elements
            if tag == "i" and str(attributes["class"]).startswith("w ") and len(attributes) == 1
        ]


def render(snapshot: Snapshot) -> Reader:
    return Reader(Template().render(snapshot, "NONCE").decode())


def take(*workers: dict[str, Any], **more: Any) -> Snapshot:
    sampler = Sampler()
    sampler.take(report(*workers, uptime_s=99.0), NO_TIMES)
    config = [("min_spare", "5"), ("bind", "127.0.0.1:8000")]
    known = {"uptime_s": 100.0, "listeners": [{"url": "http://127.0.0.1:8000"}]}
    return sampler.take(report(*workers, **known | more), NO_TIMES, memory=3 << 20, config=config)


def test_the_page_has_the_present_state() -> None:
    page = render(
        take(
            worker(0),
            worker(1, "active", request=request("/slow", 12.0)),
            worker(2, "stuck"),
            requests=1234,
            decisions=[{"age_s": 3.0, "change": 4, "why": "1 spare of 5 missing"}],
        )
    )
    for shown in (
        "prefork site",
        "manager 100, up 1m40s, http://127.0.0.1:8000",
        "1 spare 1 active 0 starting 0 draining 1 stuck",
        "3 MiB 1 MiB a worker",
        "12s GET /slow",
        "10.0.0.9",
        "+4 1 spare of 5 missing",
        "1,234",
        "min_spare 5",
    ):
        assert shown.replace(" ", "") in page.text.replace(" ", ""), shown
    assert {"w spare g1", "w active g1", "w stuck g1", "w empty"} <= set(page.slots())


def test_no_text_is_markup() -> None:
    evil = "<script>alert(1)</script>\"'&\x1b]0;x\x07"
    snapshot = take(
        worker(0, "active", request=request(evil, method=evil, client=evil, phase=evil)), glue=evil
    )
    source = Template().render(snapshot, "NONCE").decode()
    page = Reader(source)
    assert "<script>alert" not in source
    assert "\x1b" not in source
    assert page.text.count("<script>alert(1)</script>") == 5
    assert [attributes for tag, attributes in page.elements if tag == "script"] == [{"nonce": "NONCE"}]


@pytest.mark.parametrize("count", [1, 7, 64, 256, 1000, 5000])
def test_it_works_with_any_number_of_workers(count: int) -> None:
    snapshot = take(*(worker(slot, "active") for slot in range(count)), max_clients=count)
    page = render(snapshot)
    assert page.slots().count("w active g1") == count
    assert cells(snapshot) == count
    assert len(Template().render(snapshot, "")) < 40_000 + 40 * count


def test_slots_that_the_pool_may_still_use_are_drawn_up_to_a_number() -> None:
    assert cells(take(worker(0), max_clients=4)) == 4
    assert cells(take(worker(0), max_clients=65535)) == 64
    assert cells(take(worker(99), max_clients=65535)) == 400


def test_several_generations_are_named() -> None:
    page = render(take(worker(0), worker(1, generation=2), worker(2, generation=2)))
    assert "1 of generation 1" in page.text
    assert "2 of generation 2" in page.text
    assert "of generation" not in render(take(worker(0), worker(1))).text


def test_a_garbled_worker_is_shown_as_such() -> None:
    page = render(take(worker(0, "nonsense", pid=-1, generation=2**63, is_garbled=True)))
    assert "w garbled g2" in page.slots()
    assert ("li", {"id": "garbled"}) in page.elements
    assert ("li", {"id": "garbled", "hidden": None}) in render(take(worker(0))).elements


def test_the_policy_lets_in_nothing_from_elsewhere() -> None:
    found = dict(part.split(" ", 1) for part in policy("N").split("; "))
    assert found.pop("default-src") == "'none'"
    assert found.pop("connect-src") == "'self'"
    assert found["script-src"] == found["style-src"] == "'nonce-N'"
    assert "unsafe" not in policy("N")
    page = Template().render(take(worker(0)), "N").decode()
    assert re.findall(r"https?://(?!127|www.w3.org/2000/svg)", page) == []
    assert " style=" not in page
    assert "innerHTML" not in page


def test_each_value_of_the_page_is_known() -> None:
    page, known = render(take(worker(0))), {*COLUMNS, *take(worker(0)).facts, "memory_each"}
    shown = {attributes["data-value"] for _, attributes in page.elements if "data-value" in attributes}
    assert shown - known == set()
    lines = [str(attributes["data-lines"]).split() for tag, attributes in page.elements if tag == "figure"]
    assert {line.split(":")[0] for one in lines for line in one} - known == set()
