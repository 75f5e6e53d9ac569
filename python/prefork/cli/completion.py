"""`prefork completion`: what makes a shell complete the command."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")

HOW = {
    "bash": 'eval "$(prefork completion bash)"    in ~/.bashrc',
    "zsh": 'eval "$(prefork completion zsh)"     in ~/.zshrc, behind compinit',
    "fish": "prefork completion fish | source      in ~/.config/fish/config.fish",
}


@click.command(epilog="\b\n" + "\n".join(HOW.values()))
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands, flags and their values."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root()
    click.echo(kind(root.command, {}, "prefork", "_PREFORK_COMPLETE").source())
