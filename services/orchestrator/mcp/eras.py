"""The two eras of the protocol as callers speak them: versions, what a result and an error look like in each (pure)."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from bus_schemas.workers import Definition
from services.orchestrator.mcp.jsonrpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    RpcError,
    with_members,
)
from services.runtime.outlines import decode_outline

MODERN_VERSION: Final = "2026-07-28"
LEGACY_VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
RESERVED: Final = "io.modelcontextprotocol/"

HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022
_RESOURCE_NOT_FOUND_BEFORE: Final = -32002
"""Of the handshake era; 2026-07-28 says invalid params."""

_LISTS_TTL_MS: Final = 1000
"""How long a client may keep a list: a server may come or go at any time, and who wants to know at once listens."""

_STATUSES: Final = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    METHOD_NOT_FOUND: 404,
    HEADER_MISMATCH: 400,
    MISSING_CAPABILITY: 400,
    UNSUPPORTED_VERSION: 400,
}


class Era(Protocol):
    """How one form of the protocol puts things."""

    resource_not_found: int

    def status(self, error: RpcError) -> int:
        """Return the HTTP status of an error that ends a request."""

    def result(self, method: str, result: bytes) -> bytes:
        """Return a server's result, which may be of the other era, as this one knows it; bytes stay where they can."""

    def upstream_error(self, error: bytes) -> RpcError | None:
        """Return a server's JSON-RPC error object as this era knows it; None: it is no such object."""

    def definition(self, definition: Definition) -> Definition:
        """Return a tool's definition as this era knows it."""

    def listing(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a list's result says beside what it lists; `about`: who answers, a `_meta` of 2026-07-28."""


class Modern:
    """2026-07-28."""

    resource_not_found = INVALID_PARAMS

    def status(self, error: RpcError) -> int:
        """See `Era.status`."""
        return _STATUSES.get(error.code, 200)

    def result(self, method: str, result: bytes) -> bytes:
        """Fill in what a server of the handshake era does not know it has to say."""
        about = _about(result)
        missing = []
        if about.resultType is None:
            missing.append(b'"resultType":"complete"')
        if method == "resources/read" and about.resultType in (None, "complete"):
            if about.ttlMs is None:
                missing.append(b'"ttlMs":0')
            if about.cacheScope is None:
                missing.append(b'"cacheScope":"private"')
        return with_members(result, b",".join(missing)) if missing else result

    def upstream_error(self, error: bytes) -> RpcError | None:
        """See `Era.upstream_error`."""
        told = _error(error)
        if told is None or told.code != _RESOURCE_NOT_FOUND_BEFORE:
            return told
        members = msgspec.json.decode(error, type=dict[str, msgspec.Raw])
        members["code"] = msgspec.Raw(str(INVALID_PARAMS).encode())
        return RpcError(INVALID_PARAMS, told.message, raw=msgspec.json.encode(members))

    def definition(self, definition: Definition) -> Definition:
        """See `Era.definition`."""
        return definition

    def listing(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Private: what is listed depends on the key."""
        return {"resultType": "complete", "ttlMs": _LISTS_TTL_MS, "cacheScope": "private", "_meta": about}


class Legacy:
    """2024-11-05 to 2025-11-25."""

    resource_not_found = _RESOURCE_NOT_FOUND_BEFORE

    def status(self, error: RpcError) -> int:
        """200: other statuses speak of the session, and clients take them so. Only what is no request is refused."""
        return 400 if error.code in (PARSE_ERROR, INVALID_REQUEST) else 200

    def result(self, method: str, result: bytes) -> bytes:
        """Leave out what only 2026-07-28 knows, and structured content that is no object, which clients refuse."""
        if not any(word in result for word in _MODERN_WORDS):
            return result
        try:
            members = decode_outline(_members_decoder, result)
            meta = decode_outline(_members_decoder, bytes(members.get("_meta", b"{}")))
        except msgspec.DecodeError:
            return result
        kept = {name: value for name, value in members.items() if name not in _MODERN_MEMBERS}
        if "structuredContent" in kept and not bytes(kept["structuredContent"]).lstrip().startswith(b"{"):
            del kept["structuredContent"]
        known = {name: value for name, value in meta.items() if not name.startswith(RESERVED)}
        if len(known) < len(meta):
            kept["_meta"] = msgspec.Raw(msgspec.json.encode(known))
        elif len(kept) == len(members):
            return result
        return msgspec.json.encode(kept)

    def upstream_error(self, error: bytes) -> RpcError | None:
        """See `Era.upstream_error`."""
        return _error(error)

    def definition(self, definition: Definition) -> Definition:
        """Leave out an output schema that is not of an object, as the structured content that it speaks of."""
        schema = definition.get("outputSchema")
        if schema is None or (isinstance(schema, Mapping) and schema.get("type") == "object"):
            return definition
        return {name: value for name, value in definition.items() if name != "outputSchema"}

    def listing(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Nothing."""
        return {}


MODERN: Final = Modern()
LEGACY: Final = Legacy()

_MODERN_MEMBERS: Final = frozenset({"resultType", "ttlMs", "cacheScope"})
_MODERN_WORDS: Final = (*(name.encode() for name in _MODERN_MEMBERS), RESERVED.encode(), b"structuredContent")
_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _About(msgspec.Struct):
    # MCP's names
    resultType: str | None = None  # noqa: N815
    ttlMs: float | None = None  # noqa: N815
    cacheScope: str | None = None  # noqa: N815


class _ErrorMembers(msgspec.Struct):
    code: int
    message: str


_about_decoder = msgspec.json.Decoder(_About)
_error_decoder = msgspec.json.Decoder(_ErrorMembers)
_NOTHING_SAID: Final = _About()


def _about(result: bytes) -> _About:
    try:
        return decode_outline(_about_decoder, result)
    except msgspec.DecodeError:
        return _NOTHING_SAID


def _error(error: bytes) -> RpcError | None:
    try:
        told = decode_outline(_error_decoder, error)
    except msgspec.DecodeError:
        return None
    return RpcError(told.code, told.message, raw=error)
