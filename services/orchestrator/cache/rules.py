"""What may be kept, for how long, and for whom (pure)."""

from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from bus_schemas.queries import Query
from services.orchestrator.catalogue import LiveVersion
from services.runtime.config.policy import ServerPolicy, ToolPolicy
from services.runtime.outlines import decode_outline

_HINTED_S: Final = 300.0
"""How long an answer of a tool is fresh that is taken at its word: it only reads, and only its own world."""
_LONGEST_S: Final = 86_400.0
"""The most that a server's own `ttlMs` counts for."""
_COMPLETE: Final = "complete"
_NOTHING_SAID: Final = ToolPolicy()


@dataclass(frozen=True, slots=True)
class Rule:
    """What the operator, or a server that is believed, says of the answers to one kind of query."""

    ttl_s: float | None
    """How long an answer is fresh; None: as each result says of itself."""
    scope: Literal["caller", "public", "result"]
    """Who shares an answer: nobody, everybody, or whoever each result says."""
    stale_if_error_s: float

    @property
    def is_certain(self) -> bool:
        """Whether answers are kept, short of errors: then it is worth waiting for somebody else's."""
        return self.ttl_s is not None


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long one answer is fresh, how long after that it may stand in, and whether everybody may have it."""

    fresh_s: float
    stale_s: float
    is_public: bool


def rule_for(query: Query, policy: ServerPolicy, version: LiveVersion) -> Rule | None:
    """Return the rule for a query to a version; None: its answers are never kept.

    Never those of prompts, nor of a conversation: a continuation, or what may lead to one, is for one caller once.
    """
    if query.prompt is not None or query.request_state is not None or query.input_responses is not None:
        return None
    said = policy.tools.get(query.target, _NOTHING_SAID)
    if said.cache_ttl_s is not None:
        ttl_s: float | None = said.cache_ttl_s
    elif query.tool is not None:
        ttl_s = _HINTED_S if policy.trust_hints and _only_reads(query.tool, version) else 0.0
    else:
        ttl_s = None
    if ttl_s == 0:
        return None
    # Of resources alone does MCP let a result say who may share it.
    scope = said.cache_scope or ("caller" if query.resource is None else "result")
    return Rule(ttl_s, scope, said.stale_if_error_s)


def lifetime(rule: Rule, result: bytes) -> Lifetime | None:
    """Return how long a result may be kept under `rule`; None: not at all, being an error or not complete."""
    about = _about(result)
    if about is None or about.isError or about.resultType != _COMPLETE:
        return None
    fresh_s = min(about.ttlMs / 1000, _LONGEST_S) if rule.ttl_s is None else rule.ttl_s
    if fresh_s <= 0:
        return None
    scope = about.cacheScope if rule.scope == "result" else rule.scope
    return Lifetime(fresh_s, rule.stale_if_error_s, is_public=scope == "public")


def is_complete(result: bytes) -> bool:
    """Return whether a result is one, and not a question back or the promise of one: those are for one caller."""
    about = _about(result)
    return about is not None and about.resultType == _COMPLETE


class _Result(msgspec.Struct):
    # MCP's names
    isError: bool = False  # noqa: N815
    resultType: str = _COMPLETE  # noqa: N815
    ttlMs: float = 0.0  # noqa: N815
    cacheScope: str = "private"  # noqa: N815


_decoder = msgspec.json.Decoder(_Result)


def _about(result: bytes) -> _Result | None:
    try:
        return decode_outline(_decoder, result)
    except msgspec.DecodeError:
        return None


def _only_reads(name: str, version: LiveVersion) -> bool:
    tool = version.offer.tools.get(name)
    hints: Any = None if tool is None else tool.definition.get("annotations")
    # Without a word on it a tool's world is open. Source: MCP, ToolAnnotations.
    return isinstance(hints, dict) and hints.get("readOnlyHint") is True and hints.get("openWorldHint") is False
