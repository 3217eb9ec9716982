"""An answer to a query, for people: text as text, structured content as JSON, anything else by name."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from services.runtime.text import json_text, one_line, plain


def readable(result: Mapping[str, Any]) -> str:
    """Return an MCP result (of a tool, a resource or a prompt) as harmless text that ends without a line end."""
    if result.get("resultType") == "input_required":
        return json_text(result, indent=2)
    structured = result.get("structuredContent")
    parts = [part for block in _blocks(result) if (part := _block(block, structured))]
    if structured is not None:
        parts.append(json_text(structured, indent=2))
    return "\n".join(parts)


def _blocks(result: Mapping[str, Any]) -> Iterator[object]:
    """Yield the content blocks; a prompt's messages and a resource's contents are such too."""
    for key in ("content", "contents"):
        if isinstance(blocks := result.get(key), list):
            yield from blocks
    if isinstance(messages := result.get("messages"), list):
        for message in messages:
            if isinstance(message, dict):
                yield {"type": "text", "text": f"{message.get('role')}:"}
                yield message.get("content")


def _block(block: object, structured: object) -> str:
    if not isinstance(block, dict):
        return json_text(block)
    if isinstance(text := block.get("text"), str):
        # Servers send structured content as text too, for clients that know only text.
        return "" if structured is not None and _same(text, structured) else plain(text)
    if isinstance(resource := block.get("resource"), dict):
        return _block(resource, structured)
    # Each made harmless for itself: an unfinished escape sequence would else swallow what follows it.
    kind = one_line(str(block.get("type") or "data"))
    name = one_line(str(block.get("uri") or block.get("mimeType") or ""))
    encoded = block.get("blob") or block.get("data")
    size = f", {len(encoded) * 3 // 4} bytes" if isinstance(encoded, str) else ""
    return f"[{f'{kind} {name}'.strip()}{size}]"


def _same(text: str, structured: object) -> bool:
    try:
        return bool(json.loads(text) == structured)
    except (ValueError, RecursionError):
        return False
