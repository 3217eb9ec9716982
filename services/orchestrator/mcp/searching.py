"""`?tools=search`: in place of hundreds of tools two are listed, one that finds tools and one that calls them."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from services.orchestrator.catalogue import CatalogueView, Offer
from services.orchestrator.mcp.calls import Calls
from services.orchestrator.mcp.directory import Directory
from services.orchestrator.mcp.discovery import about_server
from services.orchestrator.mcp.jsonrpc import RawParams, RpcRequest
from services.orchestrator.mcp.lists import McpLists
from services.orchestrator.mcp.requests import Asking, Requests
from services.orchestrator.mcp.tool_index import Entry, ToolIndex

FIND: Final = "find_tools"
CALL: Final = "call_tool"

_LONGEST_QUERY: Final = 1000
_MOST: Final = 50
_USUAL: Final = 10
_MOST_BYTES: Final = 256 * 1024
"""Of what is found; a model reads all of it."""

TOOLS: Final[list[dict[str, Any]]] = [
    {
        "name": FIND,
        "title": "Find tools",
        "description": "Find the tools for a task among all that there are here. Returns their definitions, the best "
        f"first; call one with {CALL}. Use a few words of what is to be done, such as 'list tables' or 'send mail'.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "maxLength": _LONGEST_QUERY, "description": "Words; none lists by name."},
                "limit": {"type": "integer", "minimum": 1, "maximum": _MOST, "default": _USUAL},
            },
            "additionalProperties": False,
        },
        "outputSchema": {
            "type": "object",
            "properties": {"tools": {"type": "array", "items": {"type": "object"}}},
            "required": ["tools"],
        },
        "annotations": {"readOnlyHint": True, "openWorldHint": False},
    },
    {
        "name": CALL,
        "title": "Call a tool",
        "description": f"Call a tool that {FIND} has found, with arguments that fit its inputSchema.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": f"As {FIND} gives it."},
                "arguments": {"type": "object", "description": "Of the tool that is called."},
            },
            "required": ["name"],
            "additionalProperties": False,
        },
    },
]


class MisusedError(Exception):
    """One of the two was called wrongly; a model reads the text, and mends its call."""


class _Arguments(msgspec.Struct):
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


_arguments_decoder = msgspec.json.Decoder(_Arguments)


class SearchingRequests(Requests):
    """Answers as `Requests` does, but for lists of tools, and for the two."""

    def __init__(self, directory: Directory, lists: McpLists, calls: Calls, catalogue: CatalogueView) -> None:
        super().__init__(directory, lists, calls)
        self._catalogue = catalogue
        self._indexed: Mapping[str, Offer] = {}
        self._index = ToolIndex(())

    async def result(self, asking: Asking) -> bytes:
        """See `Requests.result`."""
        request, era = asking.request, asking.era
        if request.method == "tools/list":
            version = None if asking.server is None else self._directory.version(asking.server)
            return msgspec.json.encode(era.listing(about_server(asking.server, version)) | {"tools": TOOLS})
        try:
            if request.method == "tools/call" and request.params.get("name") == FIND:
                return era.result(request.method, self._found(asking))
            if request.method == "tools/call" and request.params.get("name") == CALL:
                asking = replace(asking, request=_called(request))
        except MisusedError as error:
            told = {"content": [{"type": "text", "text": str(error)}], "isError": True}
            return era.result(request.method, msgspec.json.encode(told))
        return await super().result(asking)

    def _found(self, asking: Asking) -> bytes:
        arguments = asking.request.members("arguments")
        words, limit = arguments.get("query", ""), arguments.get("limit", _USUAL)
        if not isinstance(words, str) or len(words) > _LONGEST_QUERY:
            raise MisusedError(f"query must be a string of at most {_LONGEST_QUERY} characters")
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= _MOST:
            raise MisusedError(f"limit must be an integer from 1 to {_MOST}")

        def may_use(entry: Entry) -> bool:
            principal = asking.context.principal
            return asking.server in (None, entry.server) and principal.may_use(entry.server, entry.name)

        tools: list[msgspec.Raw] = []
        size = 0
        for entry in self._current().find(words, may_use):
            shared = entry.name if asking.server is not None else self._directory.called(entry.server, entry.name)
            if shared is None:
                continue
            told = msgspec.json.encode(asking.era.definition({**entry.definition, "name": shared}))
            size += len(told)
            if len(tools) == limit or (tools and size > _MOST_BYTES):
                break
            tools.append(msgspec.Raw(told))
        found = msgspec.json.encode({"tools": tools})
        content = [{"type": "text", "text": found.decode()}]
        return msgspec.json.encode({"content": content, "structuredContent": msgspec.Raw(found), "isError": False})

    def _current(self) -> ToolIndex:
        # Not with each change of the fleet: a thousand tools take a tenth of a second.
        offers = {name: live.listed.offer for name, live in self._catalogue.servers().items()}
        if offers != self._indexed:
            self._index = ToolIndex(_entries(offers))
            self._indexed = offers
        return self._index


def _entries(offers: Mapping[str, Offer]) -> Iterator[Entry]:
    for server, offer in offers.items():
        for name, tool in offer.tools.items():
            yield Entry(server, name, tool.definition)


def _called(request: RpcRequest) -> RpcRequest:
    """Return the request for the tool that is to be called: its arguments keep their own bytes.

    Raises:
        MisusedError: it names no tool, or the arguments are no object.
    """
    wanted = request.members("arguments")
    name, arguments = wanted.get("name"), wanted.get("arguments", {})
    if not isinstance(name, str) or name in (FIND, CALL):
        raise MisusedError(f"name must be that of a tool which {FIND} has found")
    if not isinstance(arguments, dict):
        raise MisusedError("arguments must be an object")
    own = _arguments_decoder.decode(request.raw.arguments).arguments
    raw: RawParams = msgspec.structs.replace(request.raw, arguments=own)
    return replace(request, params={**request.params, "name": name, "arguments": arguments}, raw=raw)
