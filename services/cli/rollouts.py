"""Rollouts as the admin service tells of them: started, ordered about, found, followed."""

import time
from collections.abc import Iterator
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import quote

import typer
from pydantic import BaseModel

from services.cli.admin_service import read_reply
from services.cli.errors import CommandError, ProblemError
from services.cli.http_client import ask
from services.cli.location import Endpoint

COMPLETED: Final = "completed"
_OVER: Final = frozenset({COMPLETED, "rolled_back", "failed"})
_PATH: Final = "/v1/rollouts"
_TIMEOUT_S: Final = 10.0
_EVERY_S: Final = 0.5
_BOUNDS: Final = {
    "step_s": (0.1, 86400),
    "max_error_rate": (0, 1),
    "max_p95_ratio": (1, 1000),
    "min_requests": (0, 1_000_000),
}
"""As the admin service has them; told before anything is started."""
_MOST_STEPS: Final = 20
_PATIENCE_S: Final = 60.0
"""How long the admin service may be away while a rollout is watched: another takes over meanwhile."""

DocumentT = TypeVar("DocumentT", bound=BaseModel)

Steps = Annotated[
    str, typer.Option(metavar="10,50,100", help="The new version's shares, one after another, in percent.")
]
StepS = Annotated[float, typer.Option("--step-s", metavar="SECONDS", help="How long each step lasts at least.")]
MaxErrorRate = Annotated[
    float, typer.Option(metavar="SHARE", help="How much higher than the old version's its share of errors may be.")
]
MaxP95Ratio = Annotated[
    float, typer.Option("--max-p95-ratio", metavar="TIMES", help="How many times as long its p95 may be.")
]
MinRequests = Annotated[
    int, typer.Option(metavar="N", help="With fewer of the new version a step passes without evidence.")
]
RequireTraffic = Annotated[bool, typer.Option("--require-traffic", help="Pause such a step instead.")]


class Observed(BaseModel):
    """What was counted of a version since the step began."""

    requests: int = 0
    errors: int = 0
    p95_ms: float = 0.0


class Rollout(BaseModel):
    """One rollout, as `GET /v1/rollouts/{id}` tells it."""

    id: str
    server: str
    from_version: str
    to_version: str
    state: str
    weight: float
    step: int
    reason: str | None = None
    observed: dict[str, Observed] = {}

    @property
    def is_over(self) -> bool:
        """Whether it stays as it is for ever."""
        return self.state in _OVER

    @property
    def title(self) -> str:
        """Of what it is, in a few words."""
        return f"{self.server} {self.from_version} → {self.to_version}"


class _Rollouts(BaseModel):
    rollouts: list[Rollout]


def rollout_order(
    server: str,
    version: str,
    *,
    steps: str,
    step_s: float,
    max_error_rate: float,
    max_p95_ratio: float,
    min_requests: int,
    require_traffic: bool,
) -> dict[str, Any]:
    """Return the body of `POST /v1/rollouts`.

    Raises:
        typer.BadParameter: the admin service would refuse it.
    """
    numbers = {
        "step_s": step_s,
        "max_error_rate": max_error_rate,
        "max_p95_ratio": max_p95_ratio,
        "min_requests": min_requests,
    }
    for name, (least, most) in _BOUNDS.items():
        if not least <= numbers[name] <= most:  # so that "not a number" is refused, too
            raise typer.BadParameter(f"--{name.replace('_', '-')} is a number from {least} to {most}")
    return {
        "server": server,
        "to_version": version,
        "steps": _shares(steps),
        **numbers,
        "require_traffic": require_traffic,
    }


def start(admin: Endpoint, order: dict[str, Any]) -> Rollout:
    """Start a rollout.

    Raises:
        CommandError: it is refused, or the admin service does not answer.
    """
    return read_reply(Rollout, ask(admin, "POST", _PATH, body=order, timeout_s=_TIMEOUT_S, accepts=frozenset({201})))


def every(admin: Endpoint) -> list[Rollout]:
    """Return all that are known."""
    return read_reply(_Rollouts, ask(admin, "GET", _PATH, timeout_s=_TIMEOUT_S)).rollouts


def find(admin: Endpoint, name: str) -> Rollout:
    """Return the rollout with this id, or the newest one of the server of that name.

    Raises:
        CommandError: there is none.
    """
    found = [one for one in every(admin) if name in {one.id, one.server}]
    if not found:
        raise CommandError(f"there is no rollout {name}, nor one of a server of that name")
    return max(found, key=lambda one: (not one.is_over, one.id))


def get(admin: Endpoint, rollout_id: str) -> Rollout:
    """Return one rollout as it is now."""
    return read_reply(Rollout, ask(admin, "GET", f"{_PATH}/{quote(rollout_id, safe='')}", timeout_s=_TIMEOUT_S))


def command(admin: Endpoint, rollout_id: str, verb: str) -> Rollout:
    """Order `pause`, `resume`, `promote` or `rollback`; return the rollout after that."""
    path = f"{_PATH}/{quote(rollout_id, safe='')}/{verb}"
    accepts = frozenset({200, 202})
    return read_reply(Rollout, ask(admin, "POST", path, timeout_s=_TIMEOUT_S, accepts=accepts))


def follow(admin: Endpoint, rollout: Rollout) -> Iterator[Rollout]:
    """Yield the rollout every half second until it is over, also while one admin service takes over from another.

    Raises:
        CommandError: nobody has told of it for a minute.
    """
    heard_at = time.monotonic()
    yield rollout
    while not rollout.is_over:
        time.sleep(_EVERY_S)
        try:
            rollout = get(admin, rollout.id)
        except ProblemError:
            raise
        except CommandError:
            if time.monotonic() - heard_at > _PATIENCE_S:
                raise
            continue
        heard_at = time.monotonic()
        yield rollout


def _shares(steps: str) -> list[int]:
    try:
        shares = [int(step) for step in steps.split(",")]
    except ValueError:
        shares = []
    if not 1 <= len(shares) <= _MOST_STEPS or shares != sorted({share for share in shares if 1 <= share <= 100}):
        raise typer.BadParameter(
            f"the steps are up to {_MOST_STEPS} whole numbers from 1 to 100 that ascend, such as 10,50,100"
        )
    return shares
