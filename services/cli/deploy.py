"""`busbar deploy`: a new version of a server beside the old one, its traffic in steps, and the loser stopped."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError

from bus_schemas.config import DeploymentAnswer, DeployServer, StopAnswer, StopVersion
from bus_schemas.names import server_name
from bus_schemas.workers import WorkerState
from services.cli import rollouts
from services.cli.admin_service import admin_service, read_reply
from services.cli.errors import FAILED, CommandError, report
from services.cli.http_client import ask
from services.cli.location import Endpoint, find_system
from services.cli.options import AsJson, StateDir
from services.cli.rollout_view import watch
from services.cli.rollouts import MaxErrorRate, MaxP95Ratio, MinRequests, RequireTraffic, Rollout, StepS, Steps
from services.cli.snapshot import WorkerList
from services.cli.supervisors import OutcomeUnknownError, order_supervisor

_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.2
_MOST_READY_S: Final = 86400


def deploy(  # noqa: PLR0917  typer reads the options from the signature
    server: Annotated[str, typer.Argument(metavar="SERVER", help="The server's name.", show_default=False)],
    config: Annotated[Path, typer.Option(metavar="FILE", help="The configuration with the new version in it.")],
    steps: Steps = "10,50,100",
    step_s: StepS = 30.0,
    max_error_rate: MaxErrorRate = 0.01,
    max_p95_ratio: MaxP95Ratio = 1.5,
    min_requests: MinRequests = 50,
    require_traffic: RequireTraffic = False,
    ready_s: Annotated[
        float, typer.Option("--ready-s", metavar="SECONDS", help="How long the new version may take until it serves.")
    ] = 60.0,
    as_json: AsJson = False,
    state_dir: StateDir = None,
) -> int:
    """Bring up a new version of a server, and move the traffic to it.

    It is the version that is now in FILE. The supervisor of a running `busbar up` starts it beside the one in
    force; a server with a command and a URL needs a port of its own for that. Where the new version is worse, it
    goes back by itself: status 1, and why. A Ctrl-C leaves the rollout running; before it has begun, the new
    version is stopped again.

    Example:

        busbar deploy product_metadata_mcp --config busbar.yaml --steps 10,50,100 --step-s 30
    """
    try:
        server_name(server)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if not 0 < ready_s <= _MOST_READY_S:
        raise typer.BadParameter(f"--ready-s is a number above 0, {_MOST_READY_S} at most")
    order: dict[str, Any] = rollouts.rollout_order(
        server,
        "",
        steps=steps,
        step_s=step_s,
        max_error_rate=max_error_rate,
        max_p95_ratio=max_p95_ratio,
        min_requests=min_requests,
        require_traffic=require_traffic,
    )
    nats_url = find_system(state_dir).nats_url
    if nats_url is None:
        raise CommandError("it is not known where the supervisor is: set BUSBAR_NATS_URL, or --state-dir")
    admin = admin_service(state_dir)
    rollouts.every(admin)  # a wrong key, or nobody there, is told before anything is started
    started: DeploymentAnswer | None = None
    try:
        started = _started(order_supervisor(nats_url, DeployServer(server=server, config_file=str(config.absolute()))))
        order["to_version"] = started.to_version
        if not as_json:
            told = f"started {started.workers} workers of {server} {started.to_version}, waiting until they serve"
            print(told, flush=True)
        _wait_serving(admin, server, started, ready_s)
        rollout = _begin(admin, order)
    except (CommandError, KeyboardInterrupt) as error:
        if started is not None or isinstance(error, OutcomeUnknownError | KeyboardInterrupt):
            _stop(nats_url, server, started)
        if isinstance(error, KeyboardInterrupt):
            return FAILED
        raise
    return watch(admin, rollout, as_json=as_json)


def _started(answer: bytes) -> DeploymentAnswer:
    try:
        started = DeploymentAnswer.model_validate_json(answer)
    except ValidationError:
        raise OutcomeUnknownError("the supervisor does not answer as Busbar does") from None
    if started.problems or started.to_version is None:
        raise CommandError(f"not deployed: {'; '.join(started.problems)}")
    return started


def _stop(nats_url: str, server: str, started: DeploymentAnswer | None) -> None:
    """Let the new version be stopped, unless its rollout goes on, and say what has become of it."""
    version = None if started is None else started.to_version
    name = f"the new version of {server}" if version is None else f"{server} {version}"
    try:
        answer = order_supervisor(nats_url, StopVersion(server=server, version=version))
        outcome = StopAnswer.model_validate_json(answer).outcome
    except (CommandError, ValidationError):
        report(f"{name} may run: the supervisor did not say whether it has stopped it")
        return
    before = "the version in force" if started is None else started.from_version
    see = f"see `busbar rollout show {server}`"
    said = {
        "stopped": f"{name} is stopped again, {before} stays as it was",
        "under_way": f"{name} is not stopped, its rollout goes on; {see}",
        "not_deployed": f"{name} is not being deployed; {see}",
    }
    report(said[outcome])


def _wait_serving(admin: Endpoint, server: str, started: DeploymentAnswer, ready_s: float) -> None:
    """Return when every worker of the new version serves; an admin service that is away may come back meanwhile.

    Raises:
        CommandError: they do not in time.
    """
    give_up_at = time.monotonic() + ready_s
    while True:
        try:
            serving = _serving(admin, server, started.to_version)
            if serving >= started.workers:
                return
            failure = CommandError(
                f"{serving} of {started.workers} workers of {server} {started.to_version} serve after {ready_s:g} s; "
                "their logs, and the server's stderr, are in the state folder"
            )
        except CommandError as error:
            failure = error
        if time.monotonic() > give_up_at:
            raise failure
        time.sleep(_POLL_S)


def _serving(admin: Endpoint, server: str, version: str | None) -> int:
    """Return how many workers of a version serve."""
    listed = read_reply(WorkerList, ask(admin, "GET", "/v1/workers", timeout_s=_TIMEOUT_S)).workers
    return sum((one.server, one.version, one.state) == (server, version, WorkerState.SERVING) for one in listed)


def _begin(admin: Endpoint, order: dict[str, Any]) -> Rollout:
    """Start the rollout; one to the same version that goes on already is taken up, also one whose answer was lost."""
    try:
        return rollouts.start(admin, order)
    except CommandError:
        with suppress(CommandError):
            for known in rollouts.every(admin):
                if not known.is_over and (known.server, known.to_version) == (order["server"], order["to_version"]):
                    return known
        raise
