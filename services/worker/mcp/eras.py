"""The two forms of the protocol: what they add to a request, how they greet a server, and how they listen to it."""

import logging
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, ClassVar, Final, Protocol, TypeVar

import msgspec

from services.runtime.errors import UpstreamError, UpstreamRefusedError
from services.runtime.racing import never
from services.worker.mcp.messages import decode_error
from services.worker.mcp.session import NOTHING, EraName, ServerInfo
from services.worker.mcp.transport import LISTS

log = logging.getLogger(__name__)

MODERN_VERSION: Final = "2026-07-28"
LEGACY_VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
CLIENT_INFO: Final = {"name": "busbar", "version": version("busbar")}

_UNSUPPORTED_VERSION: Final = -32022
_RESERVED: Final = "io.modelcontextprotocol/"
_SERVER_INFO: Final = _RESERVED + "serverInfo"
_CLIENT_CAPABILITIES: Final[Mapping[str, Any]] = {
    "elicitation": {"form": {}, "url": {}},
    "sampling": {"tools": {}},
    "roots": {},
}
"""What a server may ask for by `input_required`: all that a caller's continuation can carry."""
_VERSION: Final[Mapping[str, Any]] = {_RESERVED + "protocolVersion": MODERN_VERSION}
_OURS: Final[Mapping[str, Any]] = {
    _RESERVED + "clientInfo": CLIENT_INFO,
    _RESERVED + "clientCapabilities": _CLIENT_CAPABILITIES,
    **_VERSION,
}
"""What every request says in the modern form, as far as its caller does not say it."""


class Caller(Protocol):
    """What an era needs in order to greet a server and to listen to it."""

    async def request(self, method: str, params: bytes, *, timeout_s: float) -> bytes:
        """See `Session.request`."""

    async def notify(self, method: str) -> None:
        """Send a notification without params."""

    async def subscribe(self, method: str, params: bytes) -> None:
        """Send a request whose response comes when the server has no more to say; return then."""

    async def hear(self) -> None:
        """Listen to the server's own stream; see `Transport.listen`."""


class Era(Protocol):
    """One form of the protocol towards one server."""

    name: ClassVar[EraName]
    mirrors_requests: ClassVar[bool]
    """Whether HTTP headers repeat what the body says."""
    probe_method: ClassVar[str]
    must_answer_probe: ClassVar[bool]
    """Whether a server that refuses the probe is not one of this era."""

    def meta(self, callers: Mapping[str, Any], progress_token: int | None) -> Mapping[str, Any]:
        """Return the `_meta` of a request; empty: it needs none."""

    def headers(self) -> dict[str, str]:
        """Return the headers of every request."""

    async def greet(self, caller: Caller, timeout_s: float) -> ServerInfo:
        """Open the conversation.

        Raises:
            UpstreamRefusedError: the server does not speak this form.
            QueryError: as for any request.
        """

    async def listen(self, caller: Caller, capabilities: Mapping[str, Any]) -> None:
        """Hear what a server with these capabilities says unasked; see `Session.listen`."""


class ModernEra:
    """2026-07-28: no sessions; every request says everything about itself."""

    name: ClassVar[EraName] = "modern"
    mirrors_requests: ClassVar[bool] = True
    probe_method: ClassVar[str] = "server/discover"
    must_answer_probe: ClassVar[bool] = True

    def meta(self, callers: Mapping[str, Any], progress_token: int | None) -> Mapping[str, Any]:
        """See `Era.meta`."""
        if not callers and progress_token is None:
            return _OURS
        return _with_token({**_OURS, **callers, **_VERSION}, progress_token)

    def headers(self) -> dict[str, str]:
        """See `Era.headers`."""
        return {"mcp-protocol-version": MODERN_VERSION}

    async def greet(self, caller: Caller, timeout_s: float) -> ServerInfo:
        """Discover the server; once more if it refuses, as one it does not know, a version that it says it knows."""
        try:
            result = await caller.request("server/discover", b"{}", timeout_s=timeout_s)
        except UpstreamRefusedError as error:
            if MODERN_VERSION not in _known_instead(error):
                raise
            result = await caller.request("server/discover", b"{}", timeout_s=timeout_s)
        found = _decode(_Discovered, result)
        if MODERN_VERSION not in found.supported_versions:
            raise UpstreamError
        about = found.meta.get(_SERVER_INFO)
        return _server_info(about, MODERN_VERSION, self.name, found.capabilities, found.instructions)

    async def listen(self, caller: Caller, capabilities: Mapping[str, Any]) -> None:
        """Subscribe to the changes of those lists that the server says it tells about."""
        told = {f"{kind}ListChanged": True for kind in LISTS if _tells_changes(capabilities.get(kind))}
        if told:
            try:
                await caller.subscribe("subscriptions/listen", msgspec.json.encode({"notifications": told}))
            except UpstreamRefusedError as error:
                log.info("the subscription was refused", extra={"rpc_code": decode_error(error.mcp_error).code})
            else:
                return
        await never()


class LegacyEra:
    """2024-11-05 to 2025-11-25: a handshake, after which both sides remember."""

    name: ClassVar[EraName] = "legacy"
    mirrors_requests: ClassVar[bool] = False
    probe_method: ClassVar[str] = "ping"
    must_answer_probe: ClassVar[bool] = False

    def __init__(self, capabilities: Mapping[str, Any] = NOTHING) -> None:
        """Nothing is negotiated yet; `capabilities`: what the server may ask of the one caller of this session."""
        self._capabilities = capabilities
        self._version: str | None = None

    def meta(self, callers: Mapping[str, Any], progress_token: int | None) -> Mapping[str, Any]:
        """See `Era.meta`. What the modern form says of itself in every request means nothing here."""
        meta = {key: value for key, value in callers.items() if not key.startswith(_RESERVED)}
        return _with_token(meta, progress_token)

    def headers(self) -> dict[str, str]:
        """See `Era.headers`."""
        return {} if self._version is None else {"mcp-protocol-version": self._version}

    async def greet(self, caller: Caller, timeout_s: float) -> ServerInfo:
        """Shake hands."""
        self._version = None
        offer = {
            "protocolVersion": LEGACY_VERSIONS[0],
            "capabilities": dict(self._capabilities),
            "clientInfo": CLIENT_INFO,
        }
        result = await caller.request("initialize", msgspec.json.encode(offer), timeout_s=timeout_s)
        found = _decode(_Initialized, result)
        if found.protocol_version not in LEGACY_VERSIONS:
            raise UpstreamError
        self._version = found.protocol_version
        await caller.notify("notifications/initialized")
        return _server_info(found.server_info, self._version, self.name, found.capabilities, found.instructions)

    async def listen(self, caller: Caller, capabilities: Mapping[str, Any]) -> None:
        """Listen to the stream that a server may have beside those of requests; many tell what they do not declare."""
        await caller.hear()


class _Discovered(msgspec.Struct, rename="camel"):
    supported_versions: list[str]
    capabilities: dict[str, Any] = {}
    instructions: str | None = None
    meta: dict[str, Any] = msgspec.field(default_factory=dict, name="_meta")


class _Initialized(msgspec.Struct, rename="camel"):
    protocol_version: str
    capabilities: dict[str, Any] = {}
    server_info: Any = None
    instructions: str | None = None


T = TypeVar("T")


def _decode(kind: type[T], result: bytes) -> T:
    try:
        return msgspec.json.decode(result, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UpstreamError from error


def _known_instead(error: UpstreamRefusedError) -> list[Any]:
    """Return the versions that a server says it knows, if it refused ours for not knowing it."""
    told = decode_error(error.mcp_error)
    known = told.data.get("supported") if told.code == _UNSUPPORTED_VERSION and isinstance(told.data, dict) else None
    return known if isinstance(known, list) else []


def _tells_changes(capability: Any) -> bool:
    return isinstance(capability, dict) and capability.get("listChanged") is True


def _with_token(meta: dict[str, Any], progress_token: int | None) -> Mapping[str, Any]:
    meta.pop("progressToken", None)
    return meta if progress_token is None else {**meta, "progressToken": progress_token}


def _server_info(
    about: Any, protocol_version: str, era: EraName, capabilities: Mapping[str, Any], instructions: str | None
) -> ServerInfo:
    """Put together what the server says of itself; nothing in `about` can be relied on."""
    said = about if isinstance(about, dict) else {}
    return ServerInfo(
        name=str(said.get("name", "")),
        version=str(said.get("version", "")),
        protocol_version=protocol_version,
        era=era,
        capabilities=capabilities,
        instructions=instructions,
    )
