"""The generated files follow the options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from prefork.cli.main import COMMANDS
from prefork.config.checked import EXTERNAL
from prefork.config.option import Group, option
from prefork.config.options import ServerOptions
from prefork.config.values import boolean, byte_size, choice, optional, seconds, text

ROOT = Path(__file__).parents[3]

if not (ROOT / "generate").is_dir():
    pytest.skip("the tests run without the sources", allow_module_level=True)

from generate import man, rust  # noqa: E402
from generate.files import FILES  # noqa: E402


@pytest.mark.parametrize("path", FILES)
def test_a_generated_file_follows_the_options(path: str) -> None:
    assert (ROOT / path).read_text() == FILES[path](), f"{path} is stale: run `make generate`"


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreOptions(ServerOptions):
    """An option of each type that the native module can take."""

    pause: float = option(Group.TIMEOUTS, 2.5, seconds(0.0), "Pause.", rust="listener")
    window: int = option(Group.REQUESTS, 1 << 20, byte_size(0), "Window.", rust="listener")
    strict: bool = option(Group.REQUESTS, True, boolean, "Be strict.", rust="listener")
    place: str | None = option(Group.REQUESTS, None, optional(text), "Place.", rust="listener")
    case: str = option(
        Group.REQUESTS, "keep", choice("keep", "lower"), "Case of names.", rust="listener.limits.case"
    )


@pytest.mark.parametrize(
    ("declaration", "default", "conversion"),
    [
        (
            "    /// Pause. Option `pause`, in milliseconds.\n    pub pause_ms: u64,\n",
            "pause_ms: 2_500,\n",
            'pause_ms: milliseconds(options, intern!(py, "pause"))?,\n',
        ),
        (
            "    pub window: u64,\n",
            "window: 1_048_576,\n",
            'window: value(options, intern!(py, "window"))?,\n',
        ),
        ("    pub strict: bool,\n", "strict: true,\n", 'strict: value(options, intern!(py, "strict"))?,\n'),
        (
            "    pub place: Option<String>,\n",
            "place: None,\n",
            'place: value(options, intern!(py, "place"))?,\n',
        ),
        (
            "    pub limits: Limits,\n",
            "case: Case::Keep,\n",
            'case: match value::<String>(options, intern!(py, "case"))?.as_str() {\n'
            '                "lower" => Case::Lower,\n                _ => Case::Keep,\n            },\n',
        ),
    ],
)
def test_an_option_becomes_a_field_with_its_default_and_conversion(
    monkeypatch: pytest.MonkeyPatch, declaration: str, default: str, conversion: str
) -> None:
    monkeypatch.setattr(rust, "ServerOptions", MoreOptions)
    assert declaration in rust.engine_settings()
    assert default in rust.engine_settings()
    assert conversion in rust.binding_settings()


def test_the_manual_page_has_each_command_and_each_flag() -> None:
    page = man.manual_page()
    assert {name for name, about in man.commands() if about} == set(COMMANDS)
    assert [one.flag for one in EXTERNAL.values() if man.bold(one.flag) not in page] == []


def test_nothing_in_the_manual_page_is_taken_for_a_request() -> None:
    assert man.escaped(".TH 'x' \\n -- ~^`") == r"\&.TH \(aqx\(aq \en \-\- \(ti\(ha\(ga"
