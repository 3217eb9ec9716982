"""Imports a command's module when the command is used, so that `busbar --help` needs none of them."""

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

_INDENTED = re.compile(r"\n\n(?=    )")  # before it, the line of one `\b` tells typer not to wrap


class Entry(NamedTuple):
    """A command in the list."""

    where: str
    """`module:attribute`: a function, or a `typer.Typer` of several commands."""
    summary: str
    """What the list says of it."""


class CommandGroup(TyperGroup):
    """Commands, of which one must be named: without one the help goes to stderr, with status 2."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help(), err=True)
            raise typer.Exit(2)
        return super().parse_args(ctx, args)


class LazyGroup(CommandGroup):
    """Lists `entries`, and imports the one that is used."""

    entries: ClassVar[Mapping[str, Entry]] = {}

    def __init__(self, **attributes: Any) -> None:
        """Take what typer gives every group."""
        super().__init__(**attributes)
        for name, entry in self.entries.items():
            self.add_command(TyperCommand(name, callback=None, short_help=entry.summary, rich_markup_mode=None))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, listed, rest = super().resolve_command(ctx, args)
        return name, load(name, self.entries[name]) if name is not None else listed, rest


def load(name: str, entry: Entry) -> TyperCommand | TyperGroup:
    """Import and return the command `name`."""
    module, _, attribute = entry.where.partition(":")
    found = getattr(import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        app = typer.Typer(rich_markup_mode=None, add_completion=False)
        app.command(name)(found)
        found = app
    return build(found)


def build(app: typer.Typer) -> TyperCommand | TyperGroup:
    """Return the command of `app`, in whose help indented lines (the examples) stay as they are."""
    command = typer.main.get_command(app)
    assert isinstance(command, TyperCommand | TyperGroup)  # noqa: S101
    for one in (command, *(command.commands.values() if isinstance(command, TyperGroup) else ())):
        one.help = _INDENTED.sub("\n\n\b\n", one.help or "")
    return command
