"""`busbar config`: checks busbar.yaml, prints what of it is public, and puts it into force."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from services.cli.admin_service import admin_service, read_reply
from services.cli.config_errors import config_failure
from services.cli.errors import DONE, FAILED, report
from services.cli.http_client import Reply, ask
from services.cli.lazy import CommandGroup
from services.cli.options import AsJson, StateDir
from services.runtime.config.connections import load_config
from services.runtime.config.errors import ConfigError
from services.runtime.config.file import config_path, public_text
from services.runtime.text import harmless_json, json_text, one_line

_TIMEOUT_S = 40.0
"""Every process reads its file, then all put it into force, those that stop others last."""
_REFUSED = 422


class _Change(BaseModel):
    applied: bool
    added: list[str]
    removed: list[str]
    changed: list[str]
    undeployed: list[str]
    missing: list[str]


class _Mistake(BaseModel):
    detail: str = ""


class _Mistakes(BaseModel):
    errors: list[_Mistake] = []


app = typer.Typer(cls=CommandGroup, rich_markup_mode=None, add_completion=False)

File = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="Default: BUSBAR_CONFIG, else busbar.yaml.", show_default=False),
]


@app.callback()
def config() -> None:
    """Check the configuration, or print what of it is public.

    `busbar config reload` puts it into force in a running system.

    Example:

        busbar config check busbar.yaml
        busbar config reload
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
        raise config_failure(error) from None
    print(text, end="")


@app.command("reload")
def reload_all(as_json: AsJson = False, state_dir: StateDir = None) -> int:
    """Let every process of a running system read its configuration anew: all of them, or none.

    Needs an admin key. Prints which servers came, went or are reached or handled in another way, and those whose
    version in the file waits for `busbar deploy`. A process that did not say in time that it has obeyed is named:
    status 1.

    Example:

        busbar config reload
    """
    admin = admin_service(state_dir)
    accepts = frozenset({200, _REFUSED, 504})
    reply = ask(admin, "POST", "/v1/config/reload", timeout_s=_TIMEOUT_S, accepts=accepts)
    if as_json:
        print(harmless_json(reply.text))
    if reply.status == _REFUSED:
        return _told_mistakes(reply)
    change = read_reply(_Change, reply)
    if not as_json:
        for what in ("added", "removed", "changed", "undeployed"):
            if names := getattr(change, what):
                print(one_line(f"{what}: {', '.join(names)}"))
        if change.applied:
            print("in force")
    if change.missing:
        outcome = "in force, but not acknowledged by" if change.applied else "nothing was changed, no answer came from"
        report(f"{outcome} {', '.join(change.missing)}; ask again")
        return FAILED
    return DONE


def _told_mistakes(reply: Reply) -> int:
    for mistake in read_reply(_Mistakes, reply).errors:
        report(mistake.detail)
    report("nothing was changed")
    return FAILED
