"""`busbar health`: one process."""

from services.cli.becoming import become


def health() -> None:
    """Run the health service.

    It answers GET /health/mcp, which needs no key.
    Settings come from BUSBAR_* variables; SIGTERM drains it.

    Example:

        BUSBAR_CONFIG=busbar.yaml BUSBAR_HEALTH_PORT=8081 busbar health
    """
    become("health")
