"""`busbar`: the commands there are."""

import io
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, ClassVar

import typer

from services.cli.errors import exit_status
from services.cli.lazy import Entry, LazyGroup, build


class Commands(LazyGroup):
    """Every command of `busbar`."""

    entries: ClassVar = {
        "up": Entry("services.cli.up:up", "Start the whole system on this machine."),
        "query": Entry("services.cli.query:query", "Ask a tool, a resource or a prompt of a server."),
        "tools": Entry("services.cli.tools:tools", "List the tools that the servers offer."),
        "mcp": Entry("services.cli.mcp:mcp", "Be an MCP server over stdio in front of the fleet."),
        "status": Entry("services.cli.status:status", "Show how the servers, workers and processes are."),
        "deploy": Entry(
            "services.cli.deploy:deploy", "Bring up a new version of a server, and move the traffic to it."
        ),
        "rollout": Entry("services.cli.rollout:app", "Move a server's traffic from one version to another, in steps."),
        "cache": Entry("services.cli.cache:app", "Show what the cache holds, or clear it."),
        "audit": Entry("services.cli.audit:app", "Check the log of who changed what."),
        "pins": Entry("services.cli.pins:app", "Pin the definitions of a server's tools, and accept others."),
        "keys": Entry("services.cli.keys:app", "Add, list and revoke the keys of callers."),
        "init": Entry("services.cli.init:init", "Make the folder of a deployment with containers, with its secrets."),
        "config": Entry("services.cli.config:app", "Check the configuration, or print what of it is public."),
        "orchestrator": Entry("services.cli.orchestrator:orchestrator", "Run one orchestrator."),
        "worker": Entry("services.cli.worker:worker", "Run one worker in front of one MCP server."),
        "health": Entry("services.cli.health:health", "Run the health service."),
        "admin": Entry("services.cli.admin:admin", "Run the admin service."),
    }


app = typer.Typer(
    cls=Commands,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"busbar {version('busbar')}")
        raise typer.Exit


@app.callback()
def busbar(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Busbar, a gateway for fleets of MCP servers.

    Start the whole system here, and ask it something from another terminal:

        busbar up
        busbar query product_metadata_mcp resolve_product alias=abracadabra

    Commands find the system through BUSBAR_URL, BUSBAR_ADMIN_URL and BUSBAR_HEALTH_URL with the keys BUSBAR_KEY
    and BUSBAR_ADMIN_KEY, else through the state folder of a running `busbar up`.

    Exit status: 0 done, 1 failed, 2 wrong usage.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `busbar` with `arguments`, else those of the process; return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a letter is no failure
    command = build(app)
    return exit_status(lambda: command.main(arguments, prog_name="busbar", standalone_mode=False))
