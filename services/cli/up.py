"""`busbar up`: the whole system on this machine."""

import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from services.cli.becoming import become


def up(  # noqa: PLR0917  typer reads the options from the signature
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The servers; default: $BUSBAR_CONFIG, else busbar.yaml.")
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="For keys, logs and state; default: $BUSBAR_STATE_DIR or .busbar."),
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address to listen on; default: 127.0.0.1, this machine only.")
    ] = None,
    orchestrator_port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT", min=0, max=65535, help="Of the first orchestrator; default 8080, 0: any free one."
        ),
    ] = None,
    health_port: Annotated[
        int | None, typer.Option(metavar="PORT", min=0, max=65535, help="Default 8081, 0: any free one.")
    ] = None,
    admin_port: Annotated[
        int | None, typer.Option(metavar="PORT", min=0, max=65535, help="Default 8082, 0: any free one.")
    ] = None,
    nats_port: Annotated[
        int | None, typer.Option(metavar="PORT", min=0, max=65535, help="Default 4222, 0: any free one.")
    ] = None,
    redis_port: Annotated[
        int | None, typer.Option(metavar="PORT", min=0, max=65535, help="Default 6379, 0: any free one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Of each version of each server; default 1.")
    ] = None,
    orchestrators: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="On consecutive ports, but for those of the others; default 1."),
    ] = None,
    print_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON when ready.")] = False,
) -> None:
    """Start the whole system on this machine; Ctrl-C finishes what is in flight and stops it.

    It brings its own NATS and Valkey; BUSBAR_NATS_URL and BUSBAR_REDIS_URL name others to use instead.

    Example:

        busbar up --workers 3 --orchestrators 2
    """
    options = {
        "CONFIG": config,
        "STATE_DIR": state_dir,
        "HOST": host,
        "ORCHESTRATOR_PORT": orchestrator_port,
        "HEALTH_PORT": health_port,
        "ADMIN_PORT": admin_port,
        "NATS_PORT": nats_port,
        "REDIS_PORT": redis_port,
        "WORKERS": workers,
        "ORCHESTRATORS": orchestrators,
        "PRINT_JSON": True if print_json else None,
    }
    given = {f"BUSBAR_{name}": str(value) for name, value in options.items() if value is not None}
    os.environ.update(given)
    # Held back, not lost, until the supervisor listens: a Ctrl-C while it loads is an orderly stop too.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    become("supervisor")
