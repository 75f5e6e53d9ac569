"""What the pages say: links lead somewhere, code is code, and commands are those of this version.

Each language of a code block has a check, or is named with what checks it instead. A block of Python that
begins with `# name.py` is a whole file: no name in it is undefined, and tests/integration/test_documents.py
imports it.
"""

from __future__ import annotations

import ast
import configparser
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import yaml

import prefork
from prefork.cli.main import commands
from prefork.config.checked import EXTERNAL
from prefork.config.sources import gather
from prefork.errors import OptionError

ROOT = Path(prefork.__file__).parents[2]

if not (ROOT / "docs").is_dir():
    pytest.skip("installed without its documents", allow_module_level=True)

from support.documents import (  # noqa: E402
    DOCS,
    PAGES,
    Block,
    Link,
    anchors,
    blocks,
    inline_code,
    links,
    prefork_commands,
    shell_lines,
)

LINKS = [link for page in PAGES for link in links(page)]
BLOCKS = blocks(*PAGES)

PYTHON = [block for block in BLOCKS if block.language == "python"]

OF_OTHER_PROGRAMS = {"--proxy-header", "--read-only"}
"""Flags of gcloud and Docker."""

OF_OTHER_SERVERS = re.compile(r"CHANGELOG|comparison|decisions|django|from-|hosting|migrat")
"""Pages whose text has flags of others."""


# --- links --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", LINKS, ids=str)
def test_a_link_leads_to_what_is_there(link: Link) -> None:
    """Other sites are not asked."""
    path, _, anchor = link.target.partition("#")
    if re.match(r"(https?|mailto):", path):
        return
    target = (link.page.parent / path).resolve() if path else link.page
    assert target.is_relative_to(ROOT.resolve())
    assert target.exists(), "no such file"
    if anchor and target.suffix == ".md":
        assert anchor in anchors(target), f"no such heading: {sorted(anchors(target))}"


def test_the_navigation_has_each_page_once() -> None:
    index = DOCS / "index.md"
    listed = re.findall(r"^- \[.*?\]\(([\w-]+\.md)\)", index.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted({page.name for page in DOCS.glob("*.md")} - {index.name})


def test_each_picture_and_schema_is_shown_on_a_page() -> None:
    shown = {(link.page.parent / link.target.partition("#")[0]).resolve() for link in LINKS}
    files = [*DOCS.rglob("*.png"), *DOCS.rglob("*.svg"), *DOCS.rglob("*.json")]
    assert [str(file) for file in files if file.resolve() not in shown] == []


def test_each_picture_is_made_by_a_script() -> None:
    scripts = "".join(
        file.read_text() for name in ("generate", "bench") for file in (ROOT / name).glob("*.py")
    )
    pictures = [file.name for file in DOCS.rglob("*") if file.suffix in (".png", ".svg")]
    assert len(pictures) > 4
    assert [name for name in pictures if f"/{name}" not in scripts and f'"{name}"' not in scripts] == []


def test_the_comparison_has_the_figures_of_the_readme() -> None:
    """And of its chart. A figure has a point or a comma in it."""
    tables = (DOCS / "comparison.md").read_text().partition("## Figures")[2].partition("\n## ")[0]
    figures = re.findall(r"(?<=\| )\d+[.,]\d+(?= )", tables)
    assert len(figures) > 20
    known = (ROOT / "README.md").read_text() + (DOCS / "mixed-load.svg").read_text()
    assert [
        figure for figure in figures if not re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d,])", known)
    ] == []


# --- code ---------------------------------------------------------------------------------------------------


def check_python(block: Block) -> None:
    compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def check_shell(block: Block) -> None:
    for line in shell_lines(block):
        for arguments in prefork_commands(line):
            check_command(arguments)


def check_toml(block: Block, folder: Path) -> None:
    """It configures prefork, or Python's logging."""
    document = tomllib.loads(block.text)
    if "loggers" in document or "formatters" in document:
        return
    path = folder / ("pyproject.toml" if "tool" in document else "prefork.toml")
    path.write_text(block.text)
    variables = dict.fromkeys(re.findall(r"\$\{(\w+)\}", block.text), "value")
    gather_without_files(str(path), variables, {})


def check_ini(block: Block) -> None:
    """A unit of systemd; a block may have several, which repeat names."""
    reader = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    reader.read_string(block.text)
    assert reader.sections()


def check_text(block: Block) -> None:
    """It is no script: what is typed stands in `sh`, or behind a prompt in `console`."""
    commands = r"\s*(?:\$ .*|(?:[A-Z_]+=\S+ )*(?:prefork [a-z-]+ \S.*|(?:pip|curl|make) .*))"
    assert [line for line in block.text.splitlines() if re.fullmatch(commands, line)] == []


CHECKS: dict[str, Callable[[Block], object]] = {
    "": check_text,
    "console": check_shell,
    "ini": check_ini,
    "json": lambda block: json.loads(block.text),
    "python": check_python,
    "sh": check_shell,
    "yaml": lambda block: list(yaml.safe_load_all(block.text)),
}

CHECKED_ELSEWHERE = {
    "toml": "test_toml_is_accepted",
    "nginx": "tests/integration/test_edge_proxies.py runs the same",
    "haproxy": "tests/integration/test_edge_proxies.py runs the same",
    "caddy": "tests/integration/test_edge_proxies.py runs the same",
    "dockerfile": "needs Docker",
    "html": "a template of an application",
    "perl": "the module that prefork replaces",
}


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_is_what_its_language_says(block: Block) -> None:
    assert block.language in {*CHECKS, *CHECKED_ELSEWHERE}, f"{block.language}: no check of it is known"
    if check := CHECKS.get(block.language):
        check(block)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "toml"], ids=str)
def test_toml_is_accepted(block: Block, tmp_path: Path) -> None:
    check_toml(block, tmp_path)


@pytest.mark.parametrize("block", [block for block in PYTHON if block.file], ids=str)
def test_a_whole_file_has_no_undefined_name(block: Block) -> None:
    assert block.file
    ruff = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--select",
        "F",
        "--ignore=F403,F405",  # what a star brings is not known
        "--quiet",
        "--stdin-filename",
    ]
    done = subprocess.run(
        [*ruff, block.file, "-"], input=block.text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


# --- commands -----------------------------------------------------------------------------------------------


def check_command(arguments: list[str]) -> None:
    """It is a command of this version, with flags that it has and values that these take.

    `...` stands for what is left out. A word in capitals, such as PID, stands for a value.
    """
    elided = "..." in arguments
    given = ["1" if re.fullmatch(r"[A-Z]+", word) else word for word in arguments if word not in ("...", "…")]
    with click.Context(commands, info_name="prefork") as context:
        if not given or given[0].startswith("-"):
            commands.make_context("prefork", given, resilient_parsing=True)
            return
        name, command, rest = commands.resolve_command(context, given)
        assert command is not None, name
        flags = command.make_context(name, rest, parent=context, resilient_parsing=elided)
    if name == "serve" and not elided:
        gather_without_files(None, {}, {key: value for key, value in flags.params.items() if key in EXTERNAL})


def gather_without_files(config: str | None, variables: dict[str, str], flags: dict[str, object]) -> None:
    """Reads options; a file that they name need not be there: a reader of the page has it."""
    try:
        gather(config, variables, flags)
    except OptionError as error:
        if not re.search("No such file|existing directory", str(error)):
            raise


def flags_of(command: click.Command) -> set[str]:
    return {"--", "--help", *(flag for one in command.params for flag in (*one.opts, *one.secondary_opts))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_text_are_commands(page: Path) -> None:
    """They may lack what is required, and need not be whole."""
    for code in inline_code(page):
        for arguments in prefork_commands(code) if code.startswith("prefork ") else ():
            if arguments and re.fullmatch(r"[a-z][a-z-]*", arguments[0]):
                command = commands.get_command(click.Context(commands), arguments[0])
                assert command is not None, code
                flags = flags_of(command)
                assert [
                    word for word in arguments if word.startswith("--") and word.split("=")[0] not in flags
                ] == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if not OF_OTHER_SERVERS.search(page.name)], ids=lambda page: page.name
)
def test_flags_in_the_text_are_flags(page: Path) -> None:
    known = {"--version"}
    for name in commands.list_commands(click.Context(commands)):
        command = commands.get_command(click.Context(commands), name)
        assert command is not None
        known |= flags_of(command)
    used = {found[0] for code in inline_code(page) if (found := re.match(r"--[\w-]+", code))}
    assert used - known - OF_OTHER_PROGRAMS == set()


def test_the_lines_of_the_log_that_a_page_explains_are_in_the_code() -> None:
    """Three words in a row of each stand there. Names and numbers vary."""
    files = [*(ROOT / "python").rglob("*.py"), *(ROOT / "crates").rglob("*.rs")]
    joined = re.sub(r'"\s*\n\s*f?"|\\\n\s*', "", "\n".join(file.read_text() for file in files))
    code = without_values(joined)
    lines = re.findall(
        r"^\| `((?!prefork )[^`]+ [^`]+)`", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE
    )
    assert len(lines) > 15
    assert [line for line in lines if not any(words in code for words in threes(line))] == []
    assert not any(words in code for words in threes("worker 4711 dances with wolves"))


def without_values(text: str) -> str:
    return re.sub(r"%[-.\d]*[a-z]\b|\{[^{}\n]*\}|'[^'\n]*'|\b\d[\w.:]*|\b\w+\.\w+\b|\.\.\.", "#", text)


def threes(line: str) -> list[str]:
    words = without_values(line).split()
    return [" ".join(words[start : start + 3]) for start in range(len(words) - 2)]


# --- the checks can fail ------------------------------------------------------------------------------------


def block_of(language: str, text: str) -> Block:
    return Block(ROOT / "README.md", 1, language, text)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "def f(:\n"),
        ("sh", "prefork serve app.py --wokers 4\n"),
        ("sh", "PORT=1 prefork serve app.py --workers four && true\n"),
        ("sh", "prefork sreve app.py\n"),
        ("sh", "cd shop; /srv/shop/bin/prefork serve app.py \\\n    --max-body 10x\n"),
        ("console", "$ prefork status --jsn\n"),
        ("json", "{'a': 1}\n"),
        ("ini", "ExecStart=prefork\n"),
        ("", "$ prefork status\n"),
        ("", "prefork serve app.py\n"),
        ("yaml", "a: b: c\n"),
    ],
)
def test_what_is_wrong_is_found(language: str, text: str) -> None:
    with pytest.raises(
        (AssertionError, SyntaxError, ValueError, click.ClickException, configparser.Error, yaml.YAMLError)
    ):
        CHECKS[language](block_of(language, text))


@pytest.mark.parametrize(
    "text", ["wokers = 4\n", "[prefork]\nworkers = 'four'\n", "[prefrok]\nworkers = 4\n"]
)
def test_wrong_toml_is_found(text: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        check_toml(block_of("toml", text), tmp_path)


def test_anchors_are_those_of_a_code_host(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b`, c!\n\n## Same\n\n## Same\n\n```\n# no heading\n```\n")
    assert anchors(page) == {"a-b-c", "same", "same-1"}
