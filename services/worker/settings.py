"""The worker's settings."""

from pathlib import Path

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from bus_schemas.names import InstanceId
from services.runtime.http_settings import AllowedHosts, Names
from services.runtime.settings import Port
from services.runtime.tracing import TracingSettings


class WorkerSettings(TracingSettings):
    """Read once, at start, from BUSBAR_* variables."""

    instance: InstanceId | None = Field(
        default=None, description="Its id on the bus; none: a random one. The supervisor gives it, to know its own."
    )
    config_is_pinned: bool = Field(
        default=False, description="Whether a supervisor checks the configuration and writes it anew at a reload."
    )
    worker_host: str = Field(default="127.0.0.1", description="Where /livez, /readyz and /metrics listen.")
    metrics_port: Port | None = Field(
        default=None, description="Port for them; 0 takes any free one, none: not at all."
    )
    allowed_hosts: AllowedHosts = ()
    state_dir: Path = Field(default=Path(".busbar"), description="Where servers' stderr is kept.")
    announce_s: NonNegativeFloat = Field(
        default=0.3, description="How long a draining worker goes on taking calls, so that orchestrators hear of it."
    )
    drain_timeout_s: PositiveFloat = Field(
        default=310, description="Above the longest deadline, below the stop_grace_period of compose."
    )
    max_callers: PositiveInt = Field(
        default=64, description="Callers that have a session of their own at once, with `session: caller`."
    )
    caller_idle_s: PositiveFloat = Field(
        default=300, description="How long a caller's own session is kept without a call."
    )
    max_undelivered_bytes: PositiveInt = Field(
        default=256 * 1024 * 1024,
        description="Of results not delivered yet; while there are more, calls are refused as overloaded.",
    )
    longest_line: NonNegativeInt = Field(default=1024, description="Calls that may wait for a slot.")

    @property
    def names(self) -> Names:
        return Names((self.worker_host, *self.allowed_hosts))
