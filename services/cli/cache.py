"""`busbar cache`: what the shared cache holds, and clearing it, through the admin service."""

from typing import Annotated
from urllib.parse import quote

import typer
from pydantic import BaseModel

from bus_schemas.names import server_name
from services.cli.admin_service import admin_service, read_reply
from services.cli.errors import DONE, FAILED, report
from services.cli.http_client import ask
from services.cli.lazy import CommandGroup
from services.cli.options import AsJson, StateDir
from services.cli.tables import print_table
from services.runtime.text import harmless_json

_PATH = "/v1/cache"
_TIMEOUT_S = 10.0
_DOT_SEGMENTS = (".", "..")


class _ServerEntries(BaseModel):
    entries: int


class _Statistics(BaseModel):
    hits: int
    misses: int
    hit_rate: float
    entries: int
    servers: dict[str, _ServerEntries]


class _Flush(BaseModel):
    cleared: int
    acknowledged_by: list[str]
    missing: list[str]


app = typer.Typer(cls=CommandGroup, rich_markup_mode=None, add_completion=False)


@app.callback()
def cache() -> None:
    """Show what the cache holds, or clear it.

    Needs an admin key.

    Example:

        busbar cache stats
        busbar cache clear product_metadata_mcp
    """


@app.command()
def stats(as_json: AsJson = False, state_dir: StateDir = None) -> None:
    """Show how many live entries the cache holds, by server, and how often it helped.

    Hits and misses are of the orchestrators that live now, each since its start.

    Example:

        busbar cache stats
    """
    reply = ask(admin_service(state_dir), "GET", _PATH, timeout_s=_TIMEOUT_S)
    statistics = read_reply(_Statistics, reply)
    if as_json:
        print(harmless_json(reply.text))
        return
    print(
        f"{statistics.entries} entries; {statistics.hits} hits, {statistics.misses} misses, "
        f"hit rate {statistics.hit_rate:.0%}"
    )
    if statistics.servers:
        print()
        print_table(("SERVER", "ENTRIES"), [(name, str(one.entries)) for name, one in statistics.servers.items()])


@app.command()
def clear(
    server: Annotated[
        str | None, typer.Argument(metavar="SERVER", help="Only what this server answered.", show_default=False)
    ] = None,
    tool: Annotated[
        str | None,
        typer.Argument(metavar="TOOL", help="Only this tool of it, or the resource with this URI.", show_default=False),
    ] = None,
    as_json: AsJson = False,
    state_dir: StateDir = None,
) -> int:
    """Clear the cache: all of it, what one server answered, or what one tool of it did.

    When it is done, no query that comes later is answered from before. An orchestrator that did not say so
    in time is named: status 1.

    Examples:

        busbar cache clear
        busbar cache clear product_metadata_mcp resolve_product
        busbar cache clear product_metadata_mcp product-aliases://list
    """
    path = _path(server, tool)
    reply = ask(admin_service(state_dir), "DELETE", path, timeout_s=_TIMEOUT_S, accepts=frozenset({200, 504}))
    flush = read_reply(_Flush, reply)
    if as_json:
        print(harmless_json(reply.text))
    else:
        told = len(flush.acknowledged_by)
        print(f"cleared {flush.cleared} entries; acknowledged by {told} of {told + len(flush.missing)} orchestrators")
    if flush.missing:
        report(f"not acknowledged by {', '.join(flush.missing)}: they may answer from before for a moment")
        return FAILED
    return DONE


def _path(server: str | None, tool: str | None) -> str:
    """Return what to clear as a path. An empty name, or one of dots, would make it the path of something larger."""
    if server is None:
        return _PATH
    try:
        path = f"{_PATH}/{server_name(server)}"
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if tool is None:
        return path
    if not tool or tool in _DOT_SEGMENTS:
        raise typer.BadParameter("a tool has a name, and it is neither . nor ..")
    return f"{path}/{quote(tool, safe='')}"
