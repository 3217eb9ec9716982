"""`busbar config`: checks busbar.yaml, and prints what of it is public."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.errors import DONE, FAILED, CommandError, report
from services.cli.lazy import CommandGroup
from services.cli.options import AsJson
from services.cli.text import json_text, one_line
from services.runtime.config.connections import load_config
from services.runtime.config.errors import ConfigError
from services.runtime.config.file import config_path, public_text

app = typer.Typer(cls=CommandGroup, rich_markup_mode=None, add_completion=False)

File = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="Default: BUSBAR_CONFIG, else busbar.yaml.", show_default=False),
]


@app.callback()
def config() -> None:
    """Check the configuration, or print what of it is public.

    Example:

        busbar config check busbar.yaml
    """


@app.command()
def check(file: File = None, as_json: AsJson = False) -> int:
    """Tell whether the configuration is valid.

    All of it is checked, private keys and their ${VARIABLES} included.
    Prints a line for everything that is wrong, and nothing of the values of private keys.

    Example:

        busbar config check busbar.yaml
    """
    try:
        served = len(load_config(file).policy.servers)
    except ConfigError as error:
        if as_json:
            print(json_text({"ok": False, "problems": error.problems}))
        else:
            for problem in error.problems:
                report(f"{error.path}: {problem}")
        return FAILED
    path = config_path(file)
    if as_json:
        print(json_text({"ok": True, "servers": served}))
    else:
        print(one_line(f"{path}: ok, {served} server{'' if served == 1 else 's'}"))
    return DONE


@app.command()
def public(file: File = None) -> None:
    """Print the configuration without private keys.

    It is for the services that must not have them: all but the workers and the supervisor.

    Example:

        busbar config public busbar.yaml > busbar.public.yaml
    """
    try:
        text = public_text(file)
    except ConfigError as error:
        for problem in error.problems[:-1]:
            report(f"{error.path}: {problem}")
        raise CommandError(f"{error.path}: {error.problems[-1]}") from None
    print(text, end="")
