"""The supervisor's settings."""

from pathlib import Path

from pydantic import Field, PositiveInt, SecretStr

from services.runtime.settings import CommonSettings, Port


class SupervisorSettings(CommonSettings):
    """Read once, at start, from BUSBAR_* variables; the options of `busbar up` are set as such."""

    state_dir: Path = Field(default=Path(".busbar"), description="The folder for keys, logs and state.")
    host: str = Field(default="127.0.0.1", description="Address on which orchestrators, health and admin listen.")
    orchestrator_port: Port = Field(default=8080, description="Of the first orchestrator; 0: any free one.")
    health_port: Port = Field(default=8081, description="Of health; 0: any free one.")
    admin_port: Port = Field(default=8082, description="Of admin; 0: any free one.")
    nats_port: Port = Field(default=4222, description="Of the embedded NATS; 0: any free one.")
    redis_port: Port = Field(default=6379, description="Of the embedded Valkey; 0: any free one.")
    redis_url: SecretStr | None = Field(default=None, description="A Redis or Valkey to use instead of our own.")
    keys_file: Path | None = Field(default=None, description="The keys of callers; default: one in the state folder.")
    workers: PositiveInt = Field(default=1, description="Workers of each server.")
    orchestrators: PositiveInt = Field(default=1, description="Orchestrators, on consecutive ports.")
    print_json: bool = Field(default=False, description="Print one line of JSON when ready.")

    @property
    def external_nats_url(self) -> str | None:
        """The NATS to use instead of our own, if one is set."""
        return (self.nats_url.get_secret_value() or None) if "nats_url" in self.model_fields_set else None

    @property
    def external_redis_url(self) -> str | None:
        """The Redis or Valkey to use instead of our own, if one is set."""
        return (self.redis_url.get_secret_value() or None) if self.redis_url else None
