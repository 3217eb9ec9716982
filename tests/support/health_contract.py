"""What GET /health/mcp may answer, by SPEC §5, written down a second time: the models of the service may be wrong."""

from typing import Any, Final

import jsonschema_rs

NINE_WORDS: Final = (
    "Connection timeout",
    "Connection refused",
    "Process exited",
    "Protocol error",
    "Not responding",
    "Circuit open",
    "No live worker",
    "Maintenance",
    "Bus unreachable",
)

_MOMENT: Final = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}


def _exactly(**properties: Any) -> dict[str, Any]:
    """The schema of an object with these fields and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_CONNECTED: Final = _exactly(
    status={"const": "connected"}, latency_ms={"type": "integer", "minimum": 0}, last_check=_MOMENT
)
_DISCONNECTED: Final = _exactly(status={"const": "disconnected"}, error={"enum": list(NINE_WORDS)}, last_check=_MOMENT)

CONTRACT: Final = jsonschema_rs.validator_for(
    _exactly(
        status={"enum": ["healthy", "degraded", "unhealthy"]},
        mcp_servers={"type": "object", "additionalProperties": {"oneOf": [_CONNECTED, _DISCONNECTED]}},
        cache_stats=_exactly(
            hit_rate={"type": "number", "minimum": 0, "maximum": 1}, entries={"type": "integer", "minimum": 0}
        ),
    )
)


def check_answer(status: int, report: Any) -> None:
    """Fail if this status and this body are no answer of the contract."""
    CONTRACT.validate(report)
    assert status == (503 if report["status"] == "unhealthy" else 200)
