"""What the headers of a request of 2026-07-28 must say: what its body says, once."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from services.orchestrator.forwarding import HeaderValues
from services.orchestrator.mcp.eras import HEADER_MISMATCH, MODERN_VERSION, RESERVED, UNSUPPORTED_VERSION
from services.orchestrator.mcp.jsonrpc import INVALID_PARAMS, RpcError, RpcRequest
from services.runtime.mirrored_headers import NAMED_BY, HeaderMap, decode_header, text_at

PROTOCOL_VERSION: Final = "mcp-protocol-version"
VERSION_MEMBER: Final = RESERVED + "protocolVersion"
CAPABILITIES_MEMBER: Final = RESERVED + "clientCapabilities"
CLIENT_MEMBER: Final = RESERVED + "clientInfo"
LOG_LEVEL_MEMBER: Final = RESERVED + "logLevel"

_DECIMAL: Final = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?")


def check_modern(request: RpcRequest, headers: HeaderValues) -> None:
    """Check the request's `_meta`, then its headers against its body, then its version.

    Raises:
        RpcError: the first thing that is wrong.

    Source: MCP 2026-07-28, streamable HTTP, SEP-2243; the order is the official SDK's.
    """
    meta = request.params.get("_meta")
    if not isinstance(meta, dict) or VERSION_MEMBER not in meta or CAPABILITIES_MEMBER not in meta:
        raise RpcError(
            INVALID_PARAMS, f"params._meta must be an object with {VERSION_MEMBER} and {CAPABILITIES_MEMBER}"
        )
    version, capabilities = meta[VERSION_MEMBER], meta[CAPABILITIES_MEMBER]
    if not isinstance(version, str) or not isinstance(capabilities, dict):
        raise RpcError(INVALID_PARAMS, f"{VERSION_MEMBER} must be a string, {CAPABILITIES_MEMBER} an object")
    _check_mirrored(PROTOCOL_VERSION, version, headers, encoded=False)
    _check_mirrored("mcp-method", request.method, headers, encoded=False)
    if (member := NAMED_BY.get(request.method)) is not None:
        _check_mirrored("mcp-name", request.params.get(member), headers, encoded=True)
    if version != MODERN_VERSION:
        raise unsupported_version(version)


def unsupported_version(requested: str) -> RpcError:
    """Return the error for a version that is not served without a handshake."""
    data = msgspec.json.encode({"supported": [MODERN_VERSION], "requested": requested})
    return RpcError(UNSUPPORTED_VERSION, "Unsupported protocol version", data)


def check_params(arguments: Mapping[str, Any], mirrored: HeaderMap, headers: HeaderValues) -> None:
    """Check that the arguments that a tool wants repeated in headers are, and say the same there.

    Raises:
        RpcError: the first that does not.
    """
    for path, token in mirrored.items():
        header, text = f"mcp-param-{token.lower()}", text_at(arguments, path)
        if text is not None:
            _check_mirrored(header, text, headers, encoded=True)
        elif headers(header):
            raise RpcError(HEADER_MISMATCH, f"The header {header} does not match the body")


def _check_mirrored(header: str, said: Any, headers: HeaderValues, *, encoded: bool) -> None:
    values = headers(header)
    if len(values) != 1:
        problem = "is missing" if not values else "is there more than once"
        raise RpcError(HEADER_MISMATCH, f"The header {header} {problem}")
    written = values[0].strip(" \t")
    value = decode_header(written) if encoded else written
    if value is None or not (value == said or _is_same_number(value, said)):
        raise RpcError(HEADER_MISMATCH, f"The header {header} does not match the body")


def _is_same_number(value: str, said: Any) -> bool:
    """Whether both are numbers, and the same: `42.0` is 42."""
    return isinstance(said, str) and all(map(_DECIMAL.fullmatch, (value, said))) and Decimal(value) == Decimal(said)
