"""`busbar pins`: which definitions of a server's tools are accepted, through the admin service."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import BaseModel

from bus_schemas.names import server_name
from services.cli.admin_service import admin_service, read_reply
from services.cli.errors import DONE, FAILED, CommandError, report
from services.cli.http_client import ask
from services.cli.lazy import CommandGroup
from services.cli.location import Endpoint
from services.cli.options import AsJson, StateDir
from services.cli.tables import print_table
from services.runtime.text import harmless_json, json_text, one_line

_PATH = "/v1/pins"
_TIMEOUT_S = 10.0
_TOLD = frozenset({200, 504})


class _Quarantined(BaseModel):
    tool: str
    version: str
    change: Literal["changed", "new"]
    digest: str
    definition: dict[str, object]


class _Pinned(BaseModel):
    server: str
    tools: int
    quarantined: list[_Quarantined]


class _Pins(BaseModel):
    pins: list[_Pinned]


class _Change(BaseModel):
    acknowledged_by: list[str]
    missing: list[str]
    retained: bool
    tools: int


Server = Annotated[str, typer.Argument(metavar="SERVER", show_default=False)]

app = typer.Typer(cls=CommandGroup, rich_markup_mode=None, add_completion=False)


@app.callback()
def pins() -> None:
    """Pin the definitions of a server's tools, and accept others.

    A tool whose definition is not accepted is in quarantine: neither listed nor called. Needs an admin key.

    Example:

        busbar pins add products
        busbar pins show products
        busbar pins accept products resolve_product
    """


@app.command("list")
def show_all(as_json: AsJson = False, state_dir: StateDir = None) -> None:
    """List the servers whose definitions are pinned, and what is in quarantine there.

    Example:

        busbar pins list
    """
    reply = ask(admin_service(state_dir), "GET", _PATH, timeout_s=_TIMEOUT_S)
    found = read_reply(_Pins, reply).pins
    if as_json:
        print(harmless_json(reply.text))
        return
    if not found:
        print("no definitions are pinned")
        return
    rows = [(one.server, str(one.tools), ", ".join(_shown(tool) for tool in one.quarantined)) for one in found]
    print_table(("SERVER", "PINNED TOOLS", "IN QUARANTINE"), rows)


@app.command()
def show(server: Server, state_dir: StateDir = None) -> None:
    """Show the definitions of a server's tools that are in quarantine, as the server announces them now.

    Example:

        busbar pins show products
    """
    for tool in _pinned(admin_service(state_dir), server).quarantined:
        print(f"{_shown(tool)}, {tool.digest}")
        print(json_text(tool.definition, indent=2))


@app.command()
def add(server: Server, as_json: AsJson = False, state_dir: StateDir = None) -> int:
    """Pin the definitions that a server announces now, of all versions; nothing else is accepted any more.

    Example:

        busbar pins add products
    """
    return _order(state_dir, "POST", f"{_PATH}/{_named(server)}", as_json=as_json)


@app.command()
def accept(
    server: Server,
    tools: Annotated[
        list[str] | None,
        typer.Argument(metavar="TOOL…", help="Only these; default: all that are in quarantine.", show_default=False),
    ] = None,
    as_json: AsJson = False,
    state_dir: StateDir = None,
) -> int:
    """Accept the definitions that are in quarantine now; one that changes meanwhile stays there.

    Examples:

        busbar pins accept products
        busbar pins accept products resolve_product
    """
    admin = admin_service(state_dir)
    waiting = _pinned(admin, server).quarantined
    unknown = set(tools or ()) - {tool.tool for tool in waiting}
    if unknown:
        raise CommandError(f"not in quarantine: {', '.join(sorted(map(one_line, unknown)))}")
    chosen = [tool for tool in waiting if not tools or tool.tool in tools]
    if not chosen:
        raise CommandError(f"nothing of {server} is in quarantine")
    status = DONE
    while chosen and status == DONE:  # of two versions of a tool one after the other
        digests = {tool.tool: tool.digest for tool in chosen}
        chosen = [tool for tool in chosen if digests[tool.tool] != tool.digest]
        path = f"{_PATH}/{_named(server)}/accept"
        status = _order(state_dir, "POST", path, body={"tools": digests}, as_json=as_json)
    return status


@app.command()
def remove(server: Server, as_json: AsJson = False, state_dir: StateDir = None) -> int:
    """Let a server's tools have any definition again.

    Example:

        busbar pins remove products
    """
    return _order(state_dir, "DELETE", f"{_PATH}/{_named(server)}", as_json=as_json)


def _order(state_dir: Path | None, method: str, path: str, *, as_json: bool, body: object = None) -> int:
    reply = ask(admin_service(state_dir), method, path, body=body, timeout_s=_TIMEOUT_S, accepts=_TOLD)
    change = read_reply(_Change, reply)
    if as_json:
        print(harmless_json(reply.text))
    else:
        told = len(change.acknowledged_by)
        print(f"{change.tools} tools are pinned; acknowledged by {told} of {told + len(change.missing)} orchestrators")
    if not change.retained:
        report("the store does not have it: it is lost when all processes end before the store is back")
    if change.missing:
        report(f"not acknowledged by {', '.join(change.missing)}")
        return FAILED
    return DONE


def _pinned(admin: Endpoint, server: str) -> _Pinned:
    found = read_reply(_Pins, ask(admin, "GET", _PATH, timeout_s=_TIMEOUT_S)).pins
    for one in found:
        if one.server == _named(server):
            return one
    raise CommandError(f"the definitions of {server} are not pinned")


def _named(server: str) -> str:
    try:
        return server_name(server)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _shown(tool: _Quarantined) -> str:
    return f"{one_line(tool.tool)} ({tool.change}, {tool.version})"
