"""Pages of tools, resources, templates and prompts, as the caller may use them, from the catalogue in memory."""

import base64
from typing import Any, Final

import msgspec

from services.orchestrator.mcp.directory import KEYS, Directory, Kind, Listed
from services.orchestrator.mcp.eras import Era
from services.orchestrator.mcp.jsonrpc import INVALID_PARAMS, RpcError
from services.runtime.auth.principals import Principal

LIST_METHODS: Final[dict[str, Kind]] = {
    "tools/list": "tools",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
    "prompts/list": "prompts",
}

_PAGE_BYTES: Final = 1024 * 1024
_LONGEST_CURSOR: Final = 16_384


class McpLists:
    """Lists for one caller at a time."""

    def __init__(self, directory: Directory, *, page_size: int) -> None:
        """`page_size`: definitions on a page at most; pages are also bounded in bytes."""
        self._directory = directory
        self._page_size = page_size

    def page(self, kind: Kind, principal: Principal, server: str | None, cursor: Any, era: Era) -> dict[str, Any]:
        """Return the members of a list's result.

        Raises:
            RpcError: the cursor is not one of ours.
        """
        page: list[msgspec.Raw] = []
        size = 0
        last: Listed | None = None
        for listed in self._directory.listing(kind, principal, server, _decode_cursor(kind, cursor)):
            definition = msgspec.json.encode(era.definition({**listed.definition, KEYS[kind]: listed.shared}))
            size += len(definition)
            if last is not None and (len(page) == self._page_size or size > _PAGE_BYTES):
                return {kind: page, "nextCursor": _encode_cursor(kind, last)}
            page.append(msgspec.Raw(definition))
            last = listed
        return {kind: page}


def _encode_cursor(kind: Kind, last: Listed) -> str:
    return base64.urlsafe_b64encode(f"{kind}\n{last.server}\n{last.key}".encode()).decode()


def _decode_cursor(kind: Kind, cursor: Any) -> tuple[str, str]:
    """Return the server and the key after which the page begins."""
    if cursor is None:
        return ("", "")
    try:
        if not isinstance(cursor, str) or len(cursor) > _LONGEST_CURSOR:
            raise ValueError
        of_kind, server, key = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().split("\n", 2)
        if of_kind != kind:
            raise ValueError
    except ValueError as error:  # not ASCII, not base64, not UTF-8, not ours
        raise RpcError(INVALID_PARAMS, "params.cursor is not one of this list's") from error
    return server, key
