"""`busbar tools`: what the servers offer, as far as the key may use it."""

from typing import Annotated

import typer
from pydantic import BaseModel, ValidationError

from services.cli.errors import CommandError, report
from services.cli.http_client import pages
from services.cli.location import find_system
from services.cli.options import AsJson, StateDir
from services.cli.tables import print_table
from services.runtime.text import json_text, summary

_TIMEOUT_S = 10.0


class _Definition(BaseModel):
    name: str
    title: str | None = None
    description: str | None = None


class _Item(BaseModel):
    server: str
    version: str
    tool: _Definition


def tools(
    server: Annotated[
        str | None, typer.Argument(metavar="SERVER", help="Only of this server.", show_default=False)
    ] = None,
    text: Annotated[
        str | None, typer.Option("--query", "-q", metavar="TEXT", help="Only with this text in name or description.")
    ] = None,
    as_json: AsJson = False,
    state_dir: StateDir = None,
) -> None:
    """List the tools that the servers offer.

    Examples:

        busbar tools
        busbar tools database_mcp -q table
    """
    endpoint = find_system(state_dir).need_orchestrator()
    params = {key: value for key, value in (("server", server), ("q", text)) if value is not None}
    listed: list[object] = []
    for page in pages(endpoint, "/v1/tools", params=params, timeout_s=_TIMEOUT_S):
        listed += page.get("tools") or []
    if as_json:
        print(json_text({"tools": listed}))
        return
    try:
        items = [_Item.model_validate(one) for one in listed]
    except ValidationError:
        raise CommandError("the list of tools is not as Busbar makes it") from None
    if not items:
        report("no such tool is offered now")
        return
    rows = [
        (item.server, item.version, item.tool.name, summary(item.tool.description or item.tool.title or ""))
        for item in items
    ]
    print_table(("SERVER", "VERSION", "TOOL", "DESCRIPTION"), rows)
