"""What the commands for a running pool have in common: whom they ask, what they show, how they end."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., object])

glue_option = click.option(
    "--glue",
    envvar="PREFORK_GLUE",
    show_envvar=True,
    metavar="NAME",
    help="Name of the pool. Required if several are running.",
)


def control_options(timeout_s: float | None) -> Callable[[F], F]:
    """The flags of a command that the manager carries out; `timeout_s` is how long it waits by default."""
    flags = [
        glue_option,
        click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line."),
    ]
    if timeout_s is not None:
        flags.append(
            click.option(
                "--timeout",
                "timeout_s",
                type=click.FloatRange(0.0),
                default=timeout_s,
                show_default=True,
                metavar="SECONDS",
                help="Wait this long until it is done. What has begun goes on.",
            )
        )

    def decorate(function: F) -> F:
        for flag in reversed(flags):
            function = flag(function)
        return function

    return decorate


def carry_out(
    command: str,
    arguments: dict[str, Any] | None = None,
    *,
    glue: str | None,
    as_json: bool,
    timeout_s: float | None = 10.0,
    show: Callable[[dict[str, Any]], str] | None = None,
    ends: bool = False,
) -> None:
    """Has the manager of a pool carry out a command, and shows what has happened.

    `show` makes the text of the response, by default what the manager has said and how long it took. A
    command that `ends` the server also waits for its process. Raises PreforkError for a wrong use, and ends
    with status 1 if the command has failed.
    """
    from prefork.admin.client import ask, end_of, find_pool
    from prefork.logs.console import complain, print_line

    pool = find_pool(glue)
    with (
        end_of(pool) if ends else contextlib.nullcontext() as ended,
        _progress(as_json=as_json) as progressed,
    ):
        response = ask(pool, command, arguments or {}, timeout_s=timeout_s, progressed=progressed)
        if response["ok"] and ended is not None and not ended():
            response["text"] = f"{response.get('text')}; its process {pool.manager} goes on"
    if as_json:
        print_line(json.dumps(response))
    elif not response["ok"]:
        took = f" (after {response['took_s']} s)" if response.get("took_s") and _status(response) == 1 else ""
        complain(f"pool {pool.glue}: {printable(str(response.get('error')))}{took}")
    elif show is not None:
        print_line(show(response))
    else:
        text = printable(str(response.get("text")))
        print_line(f"pool {pool.glue}: {text} ({response.get('took_s')} s)")
    if not response["ok"]:
        raise click.exceptions.Exit(_status(response))


def _status(response: dict[str, Any]) -> int:
    """The exit status of a command that has failed."""
    return int(response.get("status", 1))


def printable(text: str) -> str:
    """What came from another process, without control characters."""
    from prefork.logs.escaping import escape_line

    return escape_line(text)


def stack_lines(found: dict[str, Any]) -> list[str]:
    """The stacks and tasks of a worker, as the manager responds them."""
    tasks = found["tasks"]
    last = [f"no tasks: {found['why_no_tasks']}"] if tasks is None else str(tasks).splitlines()
    return [*str(found["stacks"]).splitlines(), "", *last]


def lines_of_json(response: dict[str, Any]) -> str:
    """The handlers of a response as a file for `--set`, with a line for each."""
    found = response["result"]["handlers"]
    if isinstance(found, dict):
        parts = [f"{json.dumps(alias)}: {json.dumps(event)}" for alias, event in found.items()]
        return "\n".join(["{", ",\n".join(f"  {part}" for part in parts), "}"])
    return "\n".join(["[", ",\n".join(f"  {json.dumps(entry)}" for entry in found), "]"])


def read_json(file: str, kind: type) -> Any:
    """What a file has, or standard input. Raises OptionError if it is not JSON of this kind."""
    from prefork.errors import OptionError

    name = "an object" if kind is dict else "a list"
    try:
        with contextlib.nullcontext(sys.stdin) if file == "-" else open(file, encoding="utf-8") as stream:
            found = json.load(stream)
    except OSError as error:
        raise OptionError(f"--set: {file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise OptionError(f"--set: expected {name} in JSON in {file}: {error}") from None
    if not isinstance(found, kind):
        raise OptionError(f"--set: expected {name} in JSON in {file}, got {type(found).__name__}")
    return found


@contextlib.contextmanager
def _progress(*, as_json: bool) -> Iterator[Callable[[dict[str, Any]], object]]:
    """Shows progress: as lines of JSON, as a bar in a terminal, and else not at all."""
    from prefork.logs.console import print_line

    if as_json:
        yield lambda progress: print_line(json.dumps({"progress": progress}))
    elif not sys.stdout.isatty():
        yield lambda _: None
    else:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, transient=True) as bar:
            task = bar.add_task("", total=None)
            yield lambda progress: bar.update(
                task,
                description=printable(str(progress.get("text"))),
                completed=float(progress.get("done", 0)),
                total=float(progress.get("total", 0)),
            )
