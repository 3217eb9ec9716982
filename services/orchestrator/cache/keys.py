"""What makes two queries the same: what is asked, of which version, and for whom."""

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785

from bus_schemas.queries import Query
from services.orchestrator.catalogue import LiveVersion
from services.runtime.auth.principals import Principal


class CacheKeys:
    """The digests under which an answer to one query may be: the caller's own, and the one for everybody.

    Arguments are compared as RFC 8785 writes them, so that neither the order of members nor the form of a number
    matters. A new definition of the tool makes other keys, and so does any other value of a forwarded header.
    """

    def __init__(self, query: Query, version: LiveVersion, principal: Principal, forwarded: Mapping[str, str]) -> None:
        """Raises ValueError where the arguments have no canonical form, such as an integer over 2^53."""
        asked: dict[str, Any] = {
            "server": version.server,
            "version": version.version,
            "definition": _definition(query, version),
            "kind": "tool" if query.tool is not None else "resource",
            "target": query.target,
            "arguments": query.arguments,
            "forwarded": dict(forwarded),
        }
        self._asked = hashlib.sha256(rfc8785.dumps(asked))
        self.own = self._of(b"caller\0" + principal.id.encode())
        self.public = self._of(b"public")

    def _of(self, partition: bytes) -> str:
        digest = self._asked.copy()
        digest.update(partition)
        return digest.hexdigest()


def _definition(query: Query, version: LiveVersion) -> str | None:
    tool = None if query.tool is None else version.offer.tools.get(query.tool)
    return None if tool is None else tool.digest
