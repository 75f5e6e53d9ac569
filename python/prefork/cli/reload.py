"""`prefork reload`: new code, options and certificates for a running pool."""

from __future__ import annotations

import click

from prefork.cli.running import carry_out, control_options


@click.command()
@control_options(300.0)
def reload(glue: str | None, as_json: bool, timeout_s: float) -> None:
    """Have a running pool load its application, options and certificates again.

    If the new code fails, the former workers serve on. Changed code of a program with a kernel of its own
    needs a restart. A pool without a control socket gets SIGHUP: the log of its server has the result.
    """
    from prefork.admin.client import find_pool
    from prefork.status.hang_up import hang_up

    if find_pool(glue).path is None:
        hang_up(glue or None)
    else:
        carry_out("reload", glue=glue, as_json=as_json, timeout_s=timeout_s)
