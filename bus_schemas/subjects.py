"""Every NATS subject and queue group."""

from bus_schemas.names import version_token

QUERY = "mcp.v1.query"
QUERY_QUEUE = "orchestrator"

WORKER_EVENTS = "mcp.v1.event.worker.>"
ORCHESTRATOR_EVENTS = "mcp.v1.event.orchestrator.*"
CACHE_EVENTS = "mcp.v1.event.cache"
BREAKER_EVENTS = "mcp.v1.event.breaker.*"
BREAKERS = "mcp.v1.control.breakers"
"""Where every orchestrator is asked what it knows of breakers."""
CONFIG = "mcp.v1.control.config"
"""Where orchestrators, health, admin, and workers without a supervisor, are told to read their configuration anew."""
WORKER_CONFIG = "mcp.v1.control.worker_config"
"""Where workers are told to put it into force, once the supervisor has written it for them."""
SUPERVISOR = "mcp.v1.control.supervisor"
"""Where the supervisors of `busbar up` take orders."""
ROLLOUT_EVENTS = "mcp.v1.event.rollout.*"
ROLLOUTS = "mcp.v1.control.rollouts"
"""Where whoever follows rollouts is asked what it knows of weights."""
PIN_EVENTS = "mcp.v1.event.pins.*"
PINS = "mcp.v1.control.pins"
"""Where whoever follows pins is asked what it knows."""
MAINTENANCE_EVENTS = "mcp.v1.event.maintenance.*"
MAINTENANCE = "mcp.v1.control.maintenance"
"""Where whoever follows maintenance is asked what it knows."""

CLIENT_EVENTS = "mcp.v1.event.client"
"""Where orchestrators tell each other what MCP clients of the handshake era have said beside their requests."""


def call(server: str, version: str) -> str:
    """Where orchestrators send calls for one version of a server."""
    return f"mcp.v1.call.{server}.{version_token(version)}"


def call_instance(server: str, version: str, instance: str) -> str:
    """Where one worker takes the calls that only it can answer."""
    return f"{call(server, version)}.{instance}"


def call_queue(server: str, version: str) -> str:
    """The queue group in which the workers of one version share its calls."""
    return f"{server}.{version_token(version)}"


def cancel(server: str) -> str:
    """Where callers that went away are told to every worker of a server."""
    return f"mcp.v1.cancel.{server}"


def control(server: str, instance: str) -> str:
    """Where one worker takes orders."""
    return f"mcp.v1.control.{server}.{instance}"


def worker_event(server: str, instance: str) -> str:
    """Where one worker says what becomes of it."""
    return f"mcp.v1.event.worker.{server}.{instance}"


def orchestrator_event(instance: str) -> str:
    """Where one orchestrator says what becomes of it."""
    return f"mcp.v1.event.orchestrator.{instance}"


def breaker_event(server: str) -> str:
    """Where is said what becomes of the breakers of one server."""
    return f"mcp.v1.event.breaker.{server}"


def rollout_event(server: str) -> str:
    """Where is said which share each version of one server gets."""
    return f"mcp.v1.event.rollout.{server}"


def pins_event(server: str) -> str:
    """Return the subject on which a server's pins are told."""
    return f"mcp.v1.event.pins.{server}"


def maintenance_event(server: str) -> str:
    """Where is said that an operator has taken a server out, or put it back."""
    return f"mcp.v1.event.maintenance.{server}"


ANYBODY = "$SRV.ANYBODY"
"""A verb of no service: nobody answers it, and NATS says at once where there is nobody."""


def service_verb(verb: str, server: str = "", instance: str = "") -> str:
    """The discovery subject of ADR-32: `verb` is PING, INFO, STATS or `*`; of all, one server's or one instance."""
    return ".".join(part for part in ("$SRV", verb, server, instance) if part)
