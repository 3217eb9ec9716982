"""The public part of the configuration: what every service may know of a server."""

import hashlib
import json
from collections.abc import Callable, Collection
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    field_validator,
)
from pydantic.types import Strict
from pydantic_core import PydanticCustomError

from bus_schemas.names import ServerName, Version
from services.runtime.config.headers import forwarded_header

_DAY_S = 86_400.0


def _quoted_version(version: object) -> object:
    if isinstance(version, int | float):
        raise PydanticCustomError("version_number", "YAML reads this as a number; write three numbers, such as 1.0.0")
    return version


def _all_different(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("names something twice")
    return names


# Strict models take no list for a tuple, so the tuples alone are lax; their items stay strict.
_Alternates = Annotated[tuple[ServerName, ...], Strict(False), AfterValidator(_all_different)]
_ForwardedHeader = Annotated[str, AfterValidator(forwarded_header)]
_ForwardHeaders = Annotated[
    tuple[_ForwardedHeader, ...], Strict(False), Field(max_length=32), AfterValidator(_all_different)
]
_ToolName = Annotated[str, StringConstraints(min_length=1, max_length=2048, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Group = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_LifetimeS = Annotated[float, Field(ge=0, le=30 * _DAY_S, allow_inf_nan=False)]


class _Public(BaseModel):
    """A part of the file in which a mistake must be told, not guessed around."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class ToolPolicy(_Public):
    """What the operator says of one tool (or resource, by its URI). None: nothing was said."""

    cache_ttl_s: _LifetimeS | None = Field(default=None, description="How long an answer is fresh; 0: never cached.")
    cache_scope: Literal["caller", "public"] | None = Field(
        default=None, description="Whether callers share answers; None: each has its own unless the server says public."
    )
    idempotent: bool | None = Field(default=None, description="Whether running it twice does what once does.")
    stale_if_error_s: _LifetimeS = Field(
        default=0.0, description="How long after that an old answer may stand in for a failing server."
    )


class ServerPolicy(_Public):
    """What every service may know of one server: never how it is reached."""

    version: Annotated[Version, BeforeValidator(_quoted_version)] = "0.0.0"
    priority: int = Field(default=100, ge=1, le=999, description="Lower is asked first.")
    group: _Group | None = Field(default=None, description="Servers of one group stand in for each other.")
    alternates: _Alternates = Field(default=(), description="Servers that may answer instead, in their order.")
    max_in_flight: int = Field(default=64, ge=1, le=10_000, description="Calls that one worker handles at once.")
    timeout_s: float = Field(default=30.0, gt=0, le=300, allow_inf_nan=False, description="What a call may take.")
    era: Literal["auto", "legacy", "modern"] = Field(default="auto", description="Which MCP handshake it speaks.")
    trust_hints: bool = Field(default=False, description="Whether its own tool annotations are believed.")
    session: Literal["shared", "caller"] = Field(default="shared", description="Whether callers share a session.")
    forward_headers: _ForwardHeaders = Field(default=(), description="Callers' headers that reach it, lower case.")
    disabled: bool = Field(default=False, description="Checked, but not served.")
    tools: dict[_ToolName, ToolPolicy] = Field(default_factory=dict)


_UNCONFIGURED = ServerPolicy()


class Policy(_Public):
    """Every configured server's public part, by name."""

    servers: dict[ServerName, ServerPolicy]

    def of(self, server: str) -> ServerPolicy:
        """Return the policy of a server; the defaults for one that is not configured, only announced."""
        return self.servers.get(server, _UNCONFIGURED)

    @field_validator("servers")
    @classmethod
    def _alternates_are_other_servers(cls, servers: dict[str, ServerPolicy]) -> dict[str, ServerPolicy]:
        problems: list[str] = []
        for name, server in servers.items():
            if name in server.alternates:
                problems.append(f"{name} names itself as its alternate")
            unknown = [alternate for alternate in server.alternates if alternate not in servers]
            problems += [f"the alternate {alternate} of {name} is not a configured server" for alternate in unknown]
        if problems:
            raise ValueError("\n".join(problems))
        return servers

    def served(self) -> Self:
        """Return the policy without the disabled servers, nor any alternate that is one."""
        served = {name: server for name, server in self.servers.items() if not server.disabled}
        return self.model_copy(
            update={
                "servers": {
                    name: server.model_copy(
                        update={"alternates": tuple(other for other in server.alternates if other in served)}
                    )
                    for name, server in served.items()
                }
            }
        )

    def digest(self) -> str:
        """The same for the same policy, whoever read it from whichever file: SHA-256 over its sorted JSON, in hex."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


class Difference(NamedTuple):
    """The servers that a policy has beside another, lacks, and says something else of; by name."""

    added: list[str]
    removed: list[str]
    changed: list[str]


def difference(before: Policy, after: Policy) -> Difference:
    """Return what is other in `after` than in `before`."""
    old, new = before.servers, after.servers
    return Difference(
        added=sorted(new.keys() - old.keys()),
        removed=sorted(old.keys() - new.keys()),
        changed=sorted(name for name in new.keys() & old.keys() if new[name] != old[name]),
    )


class LivePolicy(Policy):
    """The policy in force. A reload swaps the servers; whoever holds this object sees the new ones from then on."""

    model_config = ConfigDict(frozen=False)

    _removed: frozenset[str] = PrivateAttr(default=frozenset())
    _listeners: list[Callable[[], None]] = PrivateAttr(default_factory=list)

    @classmethod
    def of_start(cls, policy: Policy) -> Self:
        """Return what is in force from the start of the process on."""
        return cls(servers=policy.servers)

    @property
    def removed(self) -> Collection[str]:
        """The servers that a reload has taken out: not served any more, although workers of theirs may still live."""
        return self._removed

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each change."""
        self._listeners.append(listener)

    def replace(self, policy: Policy) -> None:
        """Put `policy` into force, whole."""
        self._removed = frozenset({*self._removed, *self.servers} - policy.servers.keys())
        self.servers = policy.servers
        for listener in self._listeners:
            listener()
