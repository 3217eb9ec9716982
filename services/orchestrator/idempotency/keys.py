"""What a caller may take as an idempotency key, and what makes two queries the same (pure)."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import rfc8785

from bus_schemas.errors import FieldError
from services.orchestrator.reading import ReadQuery
from services.runtime.auth.principals import Principal
from services.runtime.errors import InvalidRequestError

_KEY: Final = re.compile(r"[!-~]{1,255}")
_CANONICAL_BYTES: Final = 64 * 1024
"""Of arguments: the canonical form of so many takes some 5 ms, in which nobody else is answered."""


@dataclass(frozen=True, slots=True)
class KeyedQuery:
    """Which use of which key a query is."""

    caller_key: str
    """Hex; the key in its caller's own name space, so that callers cannot meet, nor a store's reader learn keys."""
    digest: str
    """Hex; of what is asked."""


def keyed_query(key: str, principal: Principal, read: ReadQuery) -> KeyedQuery:
    """Return what `key` stands for.

    Raises:
        InvalidRequestError: it is not 1 to 255 visible ASCII characters.
    """
    if _KEY.fullmatch(key) is None:
        raise InvalidRequestError(errors=[FieldError(pointer="/headers/idempotency-key", keyword="pattern")])
    caller_key = hashlib.sha256(f"{principal.id}\0{key}".encode()).hexdigest()
    return KeyedQuery(caller_key, _digest(read))


def _digest(read: ReadQuery) -> str:
    """Return the SHA-256 of the query without its time limit, which a caller that repeats it may change.

    Canonical (RFC 8785), so that neither the order of members nor the form of a number matters. Large arguments, and
    those without a canonical form (integers over 2^53), are compared as they were written.
    """
    query = read.query
    asked: dict[str, Any] = query.model_dump(mode="json", exclude={"timeout_ms", "arguments", "input_responses"})
    if len(read.raw_arguments) + len(read.raw_input_responses or b"") <= _CANONICAL_BYTES:
        values = {"arguments": query.arguments, "input_responses": query.input_responses}
        try:
            return hashlib.sha256(rfc8785.dumps(asked | values)).hexdigest()
        except rfc8785.CanonicalizationError:
            pass
    texts = {"arguments": _text(read.raw_arguments), "input_responses": _text(read.raw_input_responses)}
    return hashlib.sha256(msgspec.json.encode(asked | texts, order="sorted")).hexdigest()


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode()
