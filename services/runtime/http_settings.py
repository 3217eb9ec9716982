"""What the settings of every service with an HTTP port share."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat

from services.runtime.settings import CommonSettings, NoDecode


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
AllowedHosts = Annotated[
    CommaSeparated,
    Field(description="Names, beside addresses and localhost, that a Host header may hold; commas between."),
]


@dataclass(frozen=True, slots=True)
class Names:
    """By which names a service may be called, beside addresses and localhost; `*` is any."""

    hosts: Collection[str] = ()
    origins: Collection[str] = ()
    """Of web pages that may ask, beside our own."""


class HttpSettings(CommonSettings):
    """Where the service listens, whom it answers, and how it stops."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    allowed_hosts: AllowedHosts = ()
    allowed_origins: CommaSeparated = Field(
        default=(), description="Origins of web pages, beside our own, that may ask; commas between."
    )
    announce_s: NonNegativeFloat = Field(
        default=1.0, description="How long a stopping service goes on answering while it says so."
    )
    send_timeout_s: PositiveFloat = Field(
        default=60, description="How long a caller may take nothing of its answer before it is cut off."
    )
    drain_timeout_s: PositiveFloat = Field(default=310, description="Above the longest deadline.")

    @property
    def names(self) -> Names:
        return Names((self.host, *self.allowed_hosts), self.allowed_origins)
