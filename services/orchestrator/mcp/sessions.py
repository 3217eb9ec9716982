"""Sessions of callers of the handshake era: the session id says all there is to say, and any replica can read it."""

import base64
import hashlib
import hmac
import secrets
from typing import Any, Final

import msgspec

from bus_schemas.digests import caller_digest
from services.runtime.auth.principals import Principal

_TAG_BYTES: Final = 16
_LONGEST_TOKEN: Final = 4096
_LONGEST_CLIENT: Final = 256
"""Of a client's name and version, together with what else it says of itself; a longer one is not passed on."""

_RELAYED: Final = {"elicitation": ("form", "url"), "sampling": ("tools", "context"), "roots": ()}
"""What a caller can be asked for, with the parts of it."""


class Session(msgspec.Struct, frozen=True):
    """What was agreed on in the handshake."""

    version: str
    caller: str
    """The digest of the principal's id: nobody goes on with the session of another."""
    capabilities: dict[str, Any]
    """The client's, as far as they matter to servers."""
    client: dict[str, Any] | None = None
    nonce: str = ""

    @property
    def digest(self) -> str:
        """By what the session is known to all orchestrators."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()

    def is_of(self, principal: Principal) -> bool:
        """Whether the session is this caller's."""
        return self.caller == caller_digest(principal.id)


class Seal:
    """Signs what callers are given to bring back. All replicas have the same key."""

    def __init__(self, secret: str) -> None:
        """Derive the key from a secret; "" protects nothing, see docs/decisions/0012."""
        self._key = hashlib.sha256(b"busbar mcp\0" + secret.encode()).digest()

    def close(self, purpose: bytes, content: bytes) -> str:
        """Return `content`, signed for this purpose alone, in letters, digits, `-` and `_`."""
        return base64.urlsafe_b64encode(self._tag(purpose, content) + content).decode().rstrip("=")

    def open(self, purpose: bytes, token: str) -> bytes | None:
        """Return the content of a token; None: we have not signed it for this purpose."""
        if len(token) > _LONGEST_TOKEN or not token.isascii():
            return None
        try:
            signed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except ValueError:
            return None
        tag, content = signed[:_TAG_BYTES], signed[_TAG_BYTES:]
        return content if hmac.compare_digest(tag, self._tag(purpose, content)) else None

    def _tag(self, purpose: bytes, content: bytes) -> bytes:
        return hmac.digest(self._key, purpose + b"\0" + content, "sha256")[:_TAG_BYTES]


_PURPOSE: Final = b"session"
_decoder = msgspec.json.Decoder(Session)


def issue_session(seal: Seal, principal: Principal, version: str, capabilities: Any, client: Any) -> str:
    """Return the id of a new session.

    Args:
        seal: signs it.
        principal: whose it is.
        version: of the protocol, one of `LEGACY_VERSIONS`.
        capabilities: as the client declared them.
        client: as the client calls itself.
    """
    is_short = isinstance(client, dict) and len(msgspec.json.encode(client)) <= _LONGEST_CLIENT
    session = Session(
        version,
        caller_digest(principal.id),
        relayed_capabilities(capabilities),
        client if is_short else None,
        secrets.token_urlsafe(12),
    )
    return seal.close(_PURPOSE, msgspec.json.encode(session))


def read_session(seal: Seal, token: str, principal: Principal) -> Session | None:
    """Return the session with that id; None: there is none, or it is another caller's."""
    content = seal.open(_PURPOSE, token)
    if content is None:
        return None
    try:
        session = _decoder.decode(content)
    except msgspec.DecodeError:
        return None
    return session if session.is_of(principal) else None


def relayed_capabilities(capabilities: Any) -> dict[str, Any]:
    """Return those of a client's capabilities that servers may make use of through us: what we can carry both ways."""
    if not isinstance(capabilities, dict):
        return {}
    relayed: dict[str, Any] = {}
    for name, parts in _RELAYED.items():
        declared = capabilities.get(name)
        if isinstance(declared, dict):
            relayed[name] = {part: {} for part in parts if isinstance(declared.get(part), dict)}
    return relayed


def shared_secret(nats_url: str, nkey: str | None = None) -> str:
    """Return what all replicas know and callers do not: as whom they are on the bus, by nkey or by password."""
    return nkey or nats_url.partition(",")[0].rpartition("@")[0].rpartition("://")[2]
