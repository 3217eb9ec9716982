"""What each client does at `/mcp`: lists everything, then calls, reads and fills in some of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Era = Literal["modern", "legacy"]
VERSIONS: Mapping[Era, str] = {"modern": "2026-07-28", "legacy": "2025-11-25"}


@dataclass(frozen=True)
class Tour:
    """What a client does, in names of `/mcp`."""

    url: str
    era: Era
    calls: Mapping[str, Mapping[str, Any]]
    """Tools and their arguments."""
    reads: Sequence[str]
    prompts: Mapping[str, Mapping[str, str]]
    failing: Sequence[str]
    """Tools without arguments of servers that do not answer."""

    def as_json(self) -> dict[str, Any]:
        """For clients in other processes."""
        return {**asdict(self), "version": VERSIONS[self.era]}


@dataclass(frozen=True)
class Seen:
    """What a client saw on its tour."""

    version: str
    """Of the protocol, as client and server agreed on it."""
    tools: Sequence[str]
    resources: Sequence[str]
    prompts: Sequence[str]
    called: Mapping[str, str]
    """By tool: the first text of its result."""
    read: Mapping[str, str]
    filled_in: Mapping[str, str]
    failed: Sequence[str]
