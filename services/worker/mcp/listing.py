"""Reading a server's lists, page by page."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from services.runtime.errors import UpstreamError, UpstreamRefusedError
from services.worker.mcp.messages import METHOD_NOT_FOUND, decode_error
from services.worker.mcp.session import ListedCatalogue

log = logging.getLogger(__name__)

MAX_PAGES: Final = 100
MAX_CATALOGUE_BYTES: Final = 4 * 2**20
"""Of all definitions together, as ASCII JSON: a catalogue travels in one message, and the bus takes 8 MiB."""

Request = Callable[[str, bytes], Awaitable[bytes]]
Definition = dict[str, Any]


async def list_catalogue(request: Request, capabilities: Mapping[str, Any]) -> ListedCatalogue:
    """Return everything the server offers.

    Tools are always asked for. The rest is optional: it is asked for if the server says that it has it, and an
    error there costs that list only. What is over `MAX_CATALOGUE_BYTES` is left out.

    Args:
        request: sends a method and its params, returns the result.
        capabilities: the server's own.

    Raises:
        QueryError: as for any request.
    """

    async def optional(method: str, member: str, capability: str) -> list[Definition]:
        if capability not in capabilities:
            return []
        try:
            return await _list(request, method, member)
        except UpstreamRefusedError as error:
            log.warning("a list was refused", extra={"method": method, "rpc_code": decode_error(error.mcp_error).code})
            return []

    tools, resources, resource_templates, prompts = await asyncio.gather(
        _list(request, "tools/list", "tools"),
        optional("resources/list", "resources", "resources"),
        optional("resources/templates/list", "resourceTemplates", "resources"),
        optional("prompts/list", "prompts", "prompts"),
    )
    return ListedCatalogue(*_fitting(tools, resources, resource_templates, prompts))


def _fitting(*lists: list[Definition]) -> list[list[Definition]]:
    """Leave out what is over the limit, from the end: the workers of a server must agree on its catalogue."""
    room = MAX_CATALOGUE_BYTES
    kept: list[list[Definition]] = []
    for definitions in lists:
        kept.append([])
        for definition in definitions:
            room -= len(json.dumps(definition))
            if room < 0:
                break
            kept[-1].append(definition)
    left_out = sum(map(len, lists)) - sum(map(len, kept))
    if left_out:
        log.warning("the catalogue is too large, its end is left out", extra={"left_out": left_out})
    return kept


async def _list(request: Request, method: str, member: str) -> list[Definition]:
    found: list[Definition] = []
    params: dict[str, str] = {}
    listed_bytes = 0
    for _ in range(MAX_PAGES):
        try:
            answer = await request(method, msgspec.json.encode(params))
        except UpstreamRefusedError as error:
            if decode_error(error.mcp_error).code == METHOD_NOT_FOUND:
                return []
            raise
        page = _decoded(answer)
        definitions = page.get(member)
        if not isinstance(definitions, list) or not all(isinstance(definition, dict) for definition in definitions):
            raise UpstreamError
        found += definitions
        cursor = page.get("nextCursor")
        if not isinstance(cursor, str) or cursor == params.get("cursor"):
            return found
        params = {"cursor": cursor}
        listed_bytes += len(answer)
        if listed_bytes > MAX_CATALOGUE_BYTES:
            break
    log.warning("a list goes on and on, its end is left out", extra={"method": method, "listed": len(found)})
    return found


def _decoded(page: bytes) -> dict[str, Any]:
    """Return a page that can be announced; a lone surrogate has no UTF-8, and would end the worker there."""
    try:
        decoded = json.loads(page)
        json.dumps(decoded, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise UpstreamError from error
    if not isinstance(decoded, dict):
        raise UpstreamError
    return decoded
