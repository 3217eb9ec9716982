"""What may be kept, for how long, and for whom."""

import json
from typing import Any

import pytest

from bus_schemas.queries import Query
from bus_schemas.workers import Catalogue
from services.orchestrator.cache.rules import Lifetime, Rule, is_complete, lifetime, rule_for
from services.orchestrator.catalogue import LiveVersion, Offer
from services.runtime.config.policy import ServerPolicy, ToolPolicy

READS = {"readOnlyHint": True, "openWorldHint": False}
KEPT = Rule(60, "caller", 0)
AS_IT_SAYS = Rule(None, "result", 0)


def version(*tools: dict[str, Any]) -> LiveVersion:
    return LiveVersion("s", "1.0.0", Offer(Catalogue(tools=list(tools))), 0.0)


def rule(query: dict[str, Any], *tools: dict[str, Any], **policy: Any) -> Rule | None:
    return rule_for(Query.model_validate({"server": "s", **query}), ServerPolicy(**policy), version(*tools))


@pytest.mark.parametrize(
    ("query", "policy", "expected"),
    [
        ({"tool": "t"}, ToolPolicy(cache_ttl_s=60), Rule(60, "caller", 0)),
        ({"tool": "t"}, ToolPolicy(cache_ttl_s=60, cache_scope="public"), Rule(60, "public", 0)),
        ({"tool": "t"}, ToolPolicy(cache_ttl_s=60, stale_if_error_s=5), Rule(60, "caller", 5)),
        ({"resource": "t"}, ToolPolicy(cache_ttl_s=60), Rule(60, "result", 0)),
        ({"resource": "t"}, ToolPolicy(cache_ttl_s=60, cache_scope="caller"), Rule(60, "caller", 0)),
        ({"resource": "t"}, ToolPolicy(), Rule(None, "result", 0)),
        ({"resource": "t"}, ToolPolicy(cache_ttl_s=0), None),
        ({"tool": "t"}, ToolPolicy(cache_ttl_s=0), None),
        ({"tool": "t"}, ToolPolicy(), None),
        ({"prompt": "t"}, ToolPolicy(cache_ttl_s=60), None),
        ({"tool": "t", "request_state": "s"}, ToolPolicy(cache_ttl_s=60), None),
        ({"tool": "t", "input_responses": {}}, ToolPolicy(cache_ttl_s=60), None),
    ],
)
def test_the_operator_says_what_is_kept(query: dict[str, Any], policy: ToolPolicy, expected: Rule | None) -> None:
    assert rule(query, tools={"t": policy}) == expected


@pytest.mark.parametrize(
    ("annotations", "is_kept"),
    [
        (READS, True),
        ({"readOnlyHint": True}, False),  # without a word on it the world is open
        ({**READS, "openWorldHint": True}, False),
        ({**READS, "readOnlyHint": "yes"}, False),
        ({"openWorldHint": False, "idempotentHint": True}, False),
        (None, False),
        ("nonsense", False),
    ],
)
def test_hints_are_believed_where_the_operator_says_so(annotations: Any, is_kept: bool) -> None:
    tool = {"name": "t", "annotations": annotations}
    assert rule({"tool": "t"}, tool) is None
    assert (rule({"tool": "t"}, tool, trust_hints=True) is not None) is is_kept
    assert rule({"tool": "t"}, tool, trust_hints=True, tools={"t": ToolPolicy(cache_ttl_s=0)}) is None


@pytest.mark.parametrize(
    ("kept", "result", "expected"),
    [
        (KEPT, {}, Lifetime(60, 0, is_public=False)),
        (KEPT, {"resultType": "complete"}, Lifetime(60, 0, is_public=False)),
        (KEPT, {"isError": True}, None),
        (KEPT, {"resultType": "input_required"}, None),
        (KEPT, {"resultType": "task"}, None),
        (KEPT, {"cacheScope": "public"}, Lifetime(60, 0, is_public=False)),
        (Rule(60, "public", 7), {}, Lifetime(60, 7, is_public=True)),
        (AS_IT_SAYS, {}, None),
        (AS_IT_SAYS, {"ttlMs": 0}, None),
        (AS_IT_SAYS, {"ttlMs": -5}, None),
        (AS_IT_SAYS, {"ttlMs": 1500}, Lifetime(1.5, 0, is_public=False)),
        (AS_IT_SAYS, {"ttlMs": 1500, "cacheScope": "public"}, Lifetime(1.5, 0, is_public=True)),
        (AS_IT_SAYS, {"ttlMs": 1e12}, Lifetime(86_400, 0, is_public=False)),
        (AS_IT_SAYS, {"ttlMs": "soon"}, None),
        (KEPT, [], None),
    ],
)
def test_a_result_is_kept_for_as_long_as_is_right(kept: Rule, result: Any, expected: Lifetime | None) -> None:
    assert lifetime(kept, json.dumps(result).encode()) == expected


def test_a_question_back_is_no_complete_result() -> None:
    assert is_complete(b'{"isError":true}')
    assert not is_complete(b'{"resultType":"input_required"}')
    assert not is_complete(b"damaged")
