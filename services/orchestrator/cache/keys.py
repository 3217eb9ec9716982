"""What makes two queries the same: what is asked, of which version, and for whom."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from bus_schemas.queries import Query
from services.orchestrator.catalogue import LiveVersion
from services.orchestrator.reading import ReadQuery
from services.runtime.auth.principals import Principal


class CacheKeys:
    """The digests under which an answer to one query may be: the caller's own, and the one for everybody.

    Arguments are compared as RFC 8785 writes them, so that neither the order of members nor the form of a number
    matters. A new definition of the tool makes other keys, and so does any other value of a forwarded header.
    """

    def __init__(
        self, read: ReadQuery, version: LiveVersion, principal: Principal, forwarded: Mapping[str, str]
    ) -> None:
        """Raises ValueError where the arguments have no canonical form, such as an integer over 2^53."""
        query = read.query
        kind = "tool" if query.tool is not None else "resource"
        headers = tuple(sorted(forwarded.items()))
        about = version.server, version.version, _definition(query, version), kind, query.target, headers
        self._asked = _written(about) + read.canonical_arguments
        self.own = self._of(b"caller\0" + principal.id.encode())
        self.public = self._of(b"public")

    def _of(self, partition: bytes) -> str:
        # No JSON holds a NUL.
        return hashlib.sha256(self._asked + b"\0" + partition).hexdigest()


@lru_cache(maxsize=1024)
def _written(about: tuple[str | tuple[tuple[str, str], ...] | None, ...]) -> bytes:
    """Return what is asked beside the arguments as JSON; there are few of these, and many queries for each."""
    return msgspec.json.encode(about)


def _definition(query: Query, version: LiveVersion) -> str | None:
    tool = None if query.tool is None else version.offer.tools.get(query.tool)
    return None if tool is None else tool.digest
