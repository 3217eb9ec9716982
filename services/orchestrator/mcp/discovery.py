"""What `/mcp` says of itself, in both eras."""

from importlib.metadata import version
from typing import Any, Final

from services.orchestrator.mcp.eras import LEGACY_VERSIONS, MODERN, MODERN_VERSION, RESERVED

_VERSION: Final = version("busbar")
_INSTRUCTIONS: Final = (
    "Many MCP servers behind one door: a tool or a prompt is called <server>__<name>, "
    "and the part before the two underscores says whose it is."
)
_CAPABILITIES: Final[dict[str, Any]] = {
    "tools": {"listChanged": True},
    "resources": {"listChanged": True},
    "prompts": {"listChanged": True},
    "completions": {},
    "logging": {},
}


def server_info(server: str | None, server_version: str | None) -> dict[str, Any]:
    """Return who answers: the gateway, or the one server behind its own address."""
    if server is None:
        return {"name": "busbar", "title": "Busbar", "version": _VERSION}
    return {"name": server, "version": server_version or "0.0.0"}


def about_server(server: str | None, server_version: str | None) -> dict[str, Any]:
    """Return the `_meta` of results of our own in 2026-07-28."""
    return {RESERVED + "serverInfo": server_info(server, server_version)}


def discovered(server: str | None, server_version: str | None) -> dict[str, Any]:
    """Return the result of `server/discover`."""
    return {
        **MODERN.listing(about_server(server, server_version)),
        "supportedVersions": [MODERN_VERSION],
        "capabilities": _CAPABILITIES,
        **_instructions(server),
    }


def initialized(server: str | None, server_version: str | None, protocol_version: str) -> dict[str, Any]:
    """Return the result of `initialize`."""
    return {
        "protocolVersion": protocol_version,
        "capabilities": _CAPABILITIES,
        "serverInfo": server_info(server, server_version),
        **_instructions(server),
    }


def negotiated(offered: object) -> str:
    """Return the version that a handshake ends with: the one offered if we know it, else the newest that has one."""
    return offered if isinstance(offered, str) and offered in LEGACY_VERSIONS else LEGACY_VERSIONS[0]


def _instructions(server: str | None) -> dict[str, str]:
    return {"instructions": _INSTRUCTIONS} if server is None else {}
