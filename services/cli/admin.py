"""`busbar admin`: one process."""

from services.cli.becoming import become


def admin() -> None:
    """Run the admin service.

    Everything under /v1 needs a key with the scope admin.
    Settings come from BUSBAR_* variables; SIGTERM drains it.

    Example:

        BUSBAR_CONFIG=busbar.yaml BUSBAR_ADMIN_PORT=8082 busbar admin
    """
    become("admin")
