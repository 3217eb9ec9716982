"""What the settings of every service with an HTTP port share."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, field_validator
from pydantic_settings import NoDecode

from services.runtime.settings import CommonSettings


class HttpSettings(CommonSettings):
    """Where the service listens, whom it answers, and how it stops."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    keys_file: Path | None = Field(default=None, description="The keys of callers, JSON lines.")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Names, beside addresses and localhost, that a Host header may hold; commas between."
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Origins of web pages, beside our own, that may ask; commas between."
    )
    announce_s: NonNegativeFloat = Field(
        default=1.0, description="How long a stopping service goes on answering while it says so."
    )
    drain_timeout_s: PositiveFloat = Field(default=310, description="Above the longest deadline.")

    @field_validator("allowed_hosts", "allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
