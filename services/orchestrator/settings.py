"""The orchestrator's settings."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from services.orchestrator.query_log import QueryLogLevel
from services.runtime.auth.oauth_settings import OAuthSettings
from services.runtime.http_settings import HttpSettings
from services.runtime.settings import Port
from services.runtime.store_settings import StoreSettings
from services.runtime.tracing import TracingSettings


class OrchestratorSettings(HttpSettings, StoreSettings, OAuthSettings, TracingSettings):
    """Read once, at start, from BUSBAR_* variables."""

    orchestrator_port: Port = Field(default=8080, description="Port to listen on; 0 takes any free one.")
    keys_file: Path | None = Field(default=None, description="The keys of callers, JSON lines.")
    caller_idle_s: PositiveFloat = Field(
        default=300, description="How long workers keep a caller's own session without a call; the same for both."
    )
    max_in_flight: PositiveInt = Field(
        default=4096, description="Queries worked on at once; half as many of one server."
    )
    max_held_bytes: PositiveInt = Field(
        default=512 * 1024 * 1024,
        description="Of bodies, large results being put together, answers not taken; with more, no query is let in.",
    )
    breaker_open_s: PositiveFloat = Field(
        default=30, description="How long a breaker that opened lets nothing through; up to a tenth is added."
    )
    mcp_page_size: PositiveInt = Field(
        default=500, description="Tools, resources, templates or prompts on a page of a list of /mcp."
    )
    mcp_streams: PositiveInt = Field(
        default=10_000, description="Clients of /mcp at once that listen to changes of the lists."
    )
    query_log: QueryLogLevel = Field(
        default="errors", description="A line of JSON on stdout: off, for failed queries, slow ones too, or all."
    )
    query_log_slow_ms: PositiveFloat = Field(default=1000, description="From when on a query is slow.")
    anonymous: Literal["loopback"] | None = Field(
        default=None, description="Lets callers on this machine in without a key although there is a keys file."
    )
