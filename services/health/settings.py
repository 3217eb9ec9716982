"""The health service's settings."""

from pydantic import Field, NonNegativeFloat

from services.runtime.http_settings import HttpSettings
from services.runtime.settings import Port
from services.runtime.store_settings import StoreSettings


class HealthSettings(HttpSettings, StoreSettings):
    """Read once, at start, from BUSBAR_* variables."""

    health_port: Port = Field(default=8081, description="Port to listen on; 0 takes any free one.")
    announce_s: NonNegativeFloat = Field(default=0.0, description="Nobody routes by this service; it stops at once.")
