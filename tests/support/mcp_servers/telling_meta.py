"""A stdio server whose tool `meta` tells the `_meta` it was called with; any other tool is refused.

Standard library only.
"""

import json
import sys
from typing import Any

_RESULTS: dict[str, dict[str, Any]] = {
    "server/discover": {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}},
    "tools/list": {
        "tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ("meta", "refused\x1b[31m\u0085")]
    },
}


def _answer(message: dict[str, Any]) -> dict[str, Any]:
    method, params = message["method"], message.get("params", {})
    if method != "tools/call":
        return {"result": _RESULTS.get(method, {})}
    if params["name"] != "meta":
        return {"error": {"code": -32000, "message": "the secret word of the server"}}
    return {"result": {"content": [{"type": "text", "text": "the secret word of the server"}], "seen": params["_meta"]}}


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "id" in message:
            answer = {"jsonrpc": "2.0", "id": message["id"], **_answer(message)}
            sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
