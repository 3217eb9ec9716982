"""The headers that mirror a request's body, so that what stands between need not read it (2026-07-28, SEP-2243)."""

import json
from collections.abc import Mapping

import msgspec

from services.runtime.mirrored_headers import NAMED_BY, HeaderMap, encode_header, text_at


class _Named(msgspec.Struct):
    name: str | None = None
    uri: str | None = None


_named_decoder = msgspec.json.Decoder(_Named)


def mirrored_headers(method: str, params: bytes, header_maps: Mapping[str, HeaderMap]) -> dict[str, str]:
    """Return `Mcp-Method`, `Mcp-Name` and the `Mcp-Param-…` headers of a request; all names in lower case.

    Args:
        method: the request's.
        params: its params, a JSON object.
        header_maps: by tool, for the tools that have one.
    """
    headers = {"mcp-method": method}
    if (member := NAMED_BY.get(method)) is None:
        return headers
    name = getattr(_named_decoder.decode(params), member)
    if name is not None:
        headers["mcp-name"] = encode_header(name)
    if method == "tools/call" and (header_map := header_maps.get(name)):
        arguments = json.loads(params).get("arguments")
        for path, token in header_map.items():
            if (text := text_at(arguments, path)) is not None:
                headers[f"mcp-param-{token.lower()}"] = encode_header(text)
    return headers
