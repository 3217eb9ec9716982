"""The orchestrator's settings."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, SecretStr

from services.runtime.http_settings import HttpSettings
from services.runtime.settings import Port
from services.runtime.store_settings import StoreSettings


class OrchestratorSettings(HttpSettings, StoreSettings):
    """Read once, at start, from BUSBAR_* variables."""

    orchestrator_port: Port = Field(default=8080, description="Port to listen on; 0 takes any free one.")
    keys_file: Path | None = Field(default=None, description="The keys of callers, JSON lines.")
    redis_url: SecretStr | None = Field(default=None, description="The shared Redis or Valkey; None: there is none.")
    caller_idle_s: PositiveFloat = Field(
        default=300, description="How long workers keep a caller's own session without a call; the same for both."
    )
    anonymous: Literal["loopback"] | None = Field(
        default=None, description="Lets callers on this machine in without a key although there is a keys file."
    )
