"""Whether a tool said that its call failed. Only the one member is read."""

import msgspec

from services.runtime.outlines import decode_outline


class _ToolResult(msgspec.Struct):
    isError: bool = False  # noqa: N815  # MCP's name


_decoder = msgspec.json.Decoder(_ToolResult)


def is_tool_error(result: bytes) -> bool:
    """Whether the result of a tool call, as the server wrote it, says `isError`."""
    try:
        return decode_outline(_decoder, result).isError
    except msgspec.DecodeError:
        return False
