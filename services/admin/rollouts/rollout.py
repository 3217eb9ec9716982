"""One rollout: what was ordered, how far it has come, and what a caller is told of it."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from bus_schemas.names import ServerName, Version
from services.admin.bodies import Body
from services.admin.rollouts.gate import Counts

MOST_STEPS = 20


class RolloutState(StrEnum):
    """How a rollout stands; the last three are for ever."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        return self in (RolloutState.COMPLETED, RolloutState.ROLLED_BACK, RolloutState.FAILED)


class RolloutOrder(Body):
    """The body of POST /v1/rollouts."""

    server: ServerName
    to_version: Version
    steps: Annotated[
        list[Annotated[int, Field(strict=True, ge=1, le=100)]], Field(min_length=1, max_length=MOST_STEPS)
    ] = Field(default=[10, 50, 100], description="The new version's shares, ascending, in percent.")
    step_s: float = Field(
        default=30, strict=True, ge=0.1, le=86400, description="How long a step lasts at least, in seconds."
    )
    max_error_rate: float = Field(
        default=0.01,
        strict=True,
        ge=0,
        le=1,
        description="How much higher than the old version's its share of errors may be.",
    )
    max_p95_ratio: float = Field(
        default=1.5,
        strict=True,
        ge=1,
        le=1000,
        description="How many times the old version's its 95th percentile may be.",
    )
    min_requests: int = Field(
        default=50,
        strict=True,
        ge=0,
        le=1_000_000,
        description="With fewer of the new version a step passes without evidence.",
    )
    require_traffic: bool = Field(default=False, strict=True, description="Such a step pauses the rollout instead.")

    @field_validator("steps")
    @classmethod
    def _ascend(cls, steps: list[int]) -> list[int]:
        if sorted(set(steps)) != steps:
            raise ValueError("steps ascend")
        return steps


class KeptOrder(RolloutOrder):
    """The order as it is kept: a field of a later release, which callers may not send, is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Observed(BaseModel):
    """What was counted of a version since the current step began."""

    model_config = ConfigDict(frozen=True)

    requests: int = 0
    errors: int = Field(default=0, description="Those that ended with a code ≥ 500, or as `isError`.")
    p95_ms: float = Field(default=0.0, description="Calls in flight count by their age; 0 without calls.")

    @classmethod
    def of(cls, counts: Counts) -> "Observed":
        return cls(requests=counts.requests, errors=counts.errors, p95_ms=round(counts.p95_ms, 1))


class RolloutReport(BaseModel):
    """A rollout as callers see it."""

    model_config = ConfigDict(frozen=True)

    id: str
    server: str
    from_version: str
    to_version: str
    state: RolloutState
    weight: int = Field(description="The new version's share, in percent.")
    step: int = Field(description="Which step it is at, from 1; 0 before the first.")
    reason: str = Field(description="Why it stands as it does, for an operator to read; empty where that is plain.")
    observed: dict[str, Observed] = Field(description="By version, since the current step began.")


class Rollout(RolloutReport):
    """A rollout as it is kept."""

    order: KeptOrder
    lap: int = Field(default=0, description="Grows whenever what was counted and the time begin anew.")
    is_draining: bool = Field(default=False, description="The new version has passed; the old one's workers leave.")
    is_settled: bool = Field(default=False, description="It is over, and the fleet knows it.")
    epoch: int = Field(description="Of the weights.")
    weights_by: str = Field(description="The admin service that has set them.")
    weights_at: float = Field(description="When, in seconds since 1970.")

    @property
    def shares(self) -> dict[str, float]:
        """The weights that are to be in force."""
        return {self.from_version: 100 - self.weight, self.to_version: self.weight}

    def report(self) -> RolloutReport:
        """Return what a caller is told."""
        return RolloutReport(**{name: getattr(self, name) for name in RolloutReport.model_fields})
