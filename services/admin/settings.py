"""The admin service's settings."""

from pathlib import Path

from pydantic import Field, NonNegativeFloat

from services.runtime.http_settings import HttpSettings
from services.runtime.settings import Port


class AdminSettings(HttpSettings):
    """Read once, at start, from BUSBAR_* variables."""

    admin_port: Port = Field(default=8082, description="Port to listen on; 0 takes any free one.")
    keys_file: Path | None = Field(default=None, description="The keys of callers, JSON lines.")
    announce_s: NonNegativeFloat = Field(default=0.0, description="Nobody routes by this service; it stops at once.")
