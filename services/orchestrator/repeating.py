"""Whether a call that may have run may be sent again."""

from typing import Final

from bus_schemas.queries import Query
from services.orchestrator.catalogue import LiveServer
from services.runtime.config.policy import ServerPolicy, ToolPolicy

_NO_TOOL_POLICY: Final = ToolPolicy()


def is_idempotent(query: Query, policy: ServerPolicy, live: LiveServer | None) -> bool:
    """Return whether running it twice does what once does: the operator's word, else the server's where it is believed.

    Reading never does harm.
    """
    if query.tool is None:
        return True
    said = policy.tools.get(query.tool, _NO_TOOL_POLICY).idempotent
    if said is not None:
        return said
    if not policy.trust_hints or live is None:
        return False
    tool = live.versions[live.first_version].offer.tools.get(query.tool)
    hints = {} if tool is None else tool.definition.get("annotations")
    if not isinstance(hints, dict):  # the server's word, which may be anything
        return False
    return bool(hints.get("idempotentHint") or hints.get("readOnlyHint"))
