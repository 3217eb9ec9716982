"""`busbar rollout`: moving a server's traffic from one version to another, through the admin service."""

from typing import Annotated

import typer

from bus_schemas.names import semantic_version, server_name
from services.cli import rollouts
from services.cli.admin_service import admin_service
from services.cli.errors import DONE
from services.cli.lazy import CommandGroup
from services.cli.options import AsJson, StateDir
from services.cli.rollout_view import VERSION_COLUMNS, line, version_rows, watch
from services.cli.rollouts import MaxErrorRate, MaxP95Ratio, MinRequests, RequireTraffic, Rollout, StepS, Steps
from services.cli.tables import print_table
from services.runtime.text import json_text

_COLUMNS = ("ROLLOUT", "SERVER", "FROM", "TO", "STATE", "SHARE", "REASON")

app = typer.Typer(cls=CommandGroup, rich_markup_mode=None, add_completion=False)

Name = Annotated[
    str, typer.Argument(metavar="ROLLOUT", help="Its id, or a server's name: its newest one.", show_default=False)
]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it until it is over; status 1 if it failed.")]


@app.callback()
def rollout() -> None:
    """Move a server's traffic from one version to another, in steps that pass or go back by themselves.

    Needs an admin key, and live workers of both versions: `busbar deploy` starts those too.

    Example:

        busbar rollout start product_metadata_mcp 1.1.0 --watch
        busbar rollout rollback product_metadata_mcp
    """


@app.command()
def start(  # noqa: PLR0917  typer reads the options from the signature
    server: Annotated[str, typer.Argument(metavar="SERVER", help="The server's name.", show_default=False)],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Where to, such as 1.1.0.", show_default=False)],
    steps: Steps = "10,50,100",
    step_s: StepS = 30.0,
    max_error_rate: MaxErrorRate = 0.01,
    max_p95_ratio: MaxP95Ratio = 1.5,
    min_requests: MinRequests = 50,
    require_traffic: RequireTraffic = False,
    watching: Watch = False,
    as_json: AsJson = False,
    state_dir: StateDir = None,
) -> int:
    """Start a rollout to a version whose workers live.

    Example:

        busbar rollout start product_metadata_mcp 1.1.0 --steps 10,50,100 --step-s 30 --watch
    """
    try:
        server_name(server)
        semantic_version(version)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    order = rollouts.rollout_order(
        server,
        version,
        steps=steps,
        step_s=step_s,
        max_error_rate=max_error_rate,
        max_p95_ratio=max_p95_ratio,
        min_requests=min_requests,
        require_traffic=require_traffic,
    )
    admin = admin_service(state_dir)
    started = rollouts.start(admin, order)
    if watching:
        return watch(admin, started, as_json=as_json)
    return _print(started, as_json=as_json)


@app.command("list")
def list_all(as_json: AsJson = False, state_dir: StateDir = None) -> None:
    """List the rollouts there are and were.

    Example:

        busbar rollout list
    """
    known = rollouts.every(admin_service(state_dir))
    if as_json:
        print(json_text({"rollouts": [one.model_dump(mode="json") for one in known]}))
    elif known:
        print_table(
            _COLUMNS,
            [
                (one.id, one.server, one.from_version, one.to_version, one.state, f"{one.weight:g} %", one.reason or "")
                for one in known
            ],
        )
    else:
        print("no rollouts")


@app.command()
def show(name: Name, watching: Watch = False, as_json: AsJson = False, state_dir: StateDir = None) -> int:
    """Show how a rollout stands, and what was counted of both versions.

    Example:

        busbar rollout show product_metadata_mcp --watch
    """
    admin = admin_service(state_dir)
    found = rollouts.find(admin, name)
    if watching:
        return watch(admin, found, as_json=as_json)
    _print(found, as_json=as_json)
    if not as_json:
        print()
        print_table(VERSION_COLUMNS, version_rows(found))
    return DONE


@app.command()
def pause(name: Name, as_json: AsJson = False, state_dir: StateDir = None) -> int:
    """Stay at the step that a rollout is at.

    Example:

        busbar rollout pause product_metadata_mcp
    """
    return _order(name, "pause", as_json=as_json, state_dir=state_dir)


@app.command()
def resume(name: Name, watching: Watch = False, as_json: AsJson = False, state_dir: StateDir = None) -> int:
    """Go on with a rollout that is paused.

    Example:

        busbar rollout resume product_metadata_mcp --watch
    """
    return _order(name, "resume", watching=watching, as_json=as_json, state_dir=state_dir)


@app.command()
def promote(name: Name, watching: Watch = False, as_json: AsJson = False, state_dir: StateDir = None) -> int:
    """Give the new version everything now, without the steps that are left.

    Example:

        busbar rollout promote product_metadata_mcp
    """
    return _order(name, "promote", watching=watching, as_json=as_json, state_dir=state_dir)


@app.command()
def rollback(name: Name, as_json: AsJson = False, state_dir: StateDir = None) -> int:
    """Give the old version everything back.

    Example:

        busbar rollout rollback product_metadata_mcp
    """
    return _order(name, "rollback", as_json=as_json, state_dir=state_dir)


def _order(name: str, verb: str, *, watching: bool = False, as_json: bool, state_dir: StateDir) -> int:
    admin = admin_service(state_dir)
    after = rollouts.command(admin, rollouts.find(admin, name).id, verb)
    return watch(admin, after, as_json=as_json) if watching else _print(after, as_json=as_json)


def _print(one: Rollout, *, as_json: bool) -> int:
    print(json_text(one.model_dump(mode="json")) if as_json else f"{one.id} {line(one)}")
    return DONE
