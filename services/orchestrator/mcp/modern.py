"""2026-07-28: every request says everything about itself."""

from typing import Any

import msgspec

from services.orchestrator.context import Context
from services.orchestrator.mcp.conversation import Say
from services.orchestrator.mcp.directory import Directory
from services.orchestrator.mcp.discovery import discovered
from services.orchestrator.mcp.eras import LEGACY_VERSIONS, MODERN
from services.orchestrator.mcp.headers import (
    CAPABILITIES_MEMBER,
    CLIENT_MEMBER,
    LOG_LEVEL_MEMBER,
    PROTOCOL_VERSION,
    VERSION_MEMBER,
    check_modern,
    check_params,
)
from services.orchestrator.mcp.jsonrpc import RpcMessage, RpcRequest
from services.orchestrator.mcp.requests import Asking, Requests
from services.orchestrator.mcp.sessions import relayed_capabilities


def is_modern(message: RpcMessage, context: Context) -> bool:
    """Whether the caller speaks without a handshake: its header says so, or its request does."""
    return says_modern(context) or (isinstance(message, RpcRequest) and VERSION_MEMBER in message.meta)


def says_modern(context: Context) -> bool:
    """Whether the header names a version that is none of the handshake era."""
    return any(version.strip(" \t") not in LEGACY_VERSIONS for version in context.headers(PROTOCOL_VERSION))


class ModernFront:
    """Answers requests of 2026-07-28."""

    def __init__(self, directory: Directory, requests: Requests) -> None:
        self._directory = directory
        self._requests = requests

    async def result(self, request: RpcRequest, server: str | None, context: Context, say: Say) -> bytes:
        """Return the result.

        Raises:
            RpcError: there is none.
        """
        check_modern(request, context.headers)
        if request.method == "server/discover":
            version = None if server is None else self._directory.version(server)
            return msgspec.json.encode(discovered(server, version))
        if request.method == "tools/call":
            self._check_params(request, server, context)
        return await self._requests.result(Asking(request, server, MODERN, _client(request), context, say))

    def _check_params(self, request: RpcRequest, server: str | None, context: Context) -> None:
        name = request.params.get("name")
        tool = self._directory.tool(server, name) if isinstance(name, str) else None
        if tool is not None and tool.mirrored:
            check_params(request.members("arguments"), tool.mirrored, context.headers)


def _client(request: RpcRequest) -> dict[str, Any]:
    """What servers are told of the caller: as it told us, as far as we can carry what they do with it."""
    meta = request.meta
    told = {name: meta[name] for name in (CLIENT_MEMBER, LOG_LEVEL_MEMBER) if name in meta}
    return told | {CAPABILITIES_MEMBER: relayed_capabilities(meta[CAPABILITIES_MEMBER])}
