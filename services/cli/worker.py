"""`busbar worker`: one process in front of one MCP server."""

from typing import Annotated

import typer

from bus_schemas.names import semantic_version, server_name
from services.cli.becoming import become


def worker(
    server: Annotated[str, typer.Argument(metavar="SERVER", help="The server's name.", show_default=False)],
    version: Annotated[
        str | None, typer.Option(metavar="V", help="The server's version; default: the configuration's.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Reach the server here, not where the configuration says.")
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help="Serve /livez, /readyz and /metrics here, not at BUSBAR_METRICS_PORT; 0: any free port.",
        ),
    ] = None,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND", help="Start the server with this instead.")
    ] = None,
) -> None:
    """Run one worker in front of one MCP server.

    It holds the session with the server and takes its queries from the bus. Start as many as you like.
    Settings come from BUSBAR_* variables; SIGTERM drains it.

    Examples:

        busbar worker database_mcp
        busbar worker database_mcp --version 1.1.0 -- python -m examples.database_mcp
    """
    try:
        server_name(server)
        if version is not None:
            semantic_version(version)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    given = {"version": version, "url": url, "metrics-port": metrics_port}
    options = [f"--{name}={value}" for name, value in given.items() if value is not None]
    # The name goes behind `--` with the command: it may begin with a dash.
    become("worker", [*options, "--", server, *(command or [])])
