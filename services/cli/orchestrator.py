"""`busbar orchestrator`: one process."""

from services.cli.becoming import become


def orchestrator() -> None:
    """Run one orchestrator.

    It answers POST /v1/query and, on the bus, mcp.v1.query. Start as many as you like.
    Settings come from BUSBAR_* variables; SIGTERM drains it.

    Example:

        BUSBAR_CONFIG=busbar.yaml BUSBAR_ORCHESTRATOR_PORT=8080 busbar orchestrator
    """
    become("orchestrator")
