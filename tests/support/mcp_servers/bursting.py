"""A stdio server that reports progress faster than anybody can read: `python -m tests.support.mcp_servers.bursting`.

Standard library only: its bytes are its own. Its one tool, `burst`, reports `times` at once, if it is asked to.
"""

import json
import sys
from typing import Any

_MEMBERS = (b'"progress":%d.0', b'"message":"' + b"x" * 1000 + b'","n":1.0e5')
WORD = b"{" + b",".join(_MEMBERS) + b"}"
"""What is left of a report without the token, which stands in the middle; long enough for a burst to take a while."""

_RESULTS = {
    "server/discover": b'{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}',
    "tools/list": b'{"tools":[{"name":"burst","inputSchema":{"type":"object"}}]}',
}


def burst(params: dict[str, Any]) -> bytes:
    """Report as often as the arguments say; return a result that says whether anybody asked for it."""
    token = params.get("_meta", {}).get("progressToken")
    if token is None:
        return b'{"asked":false}'
    progress, more = _MEMBERS
    word = b"{" + progress + b',"progressToken":%s ,' % json.dumps(token).encode() + more + b"}"
    notification = b'{"jsonrpc":"2.0","method":"notifications/progress","params":' + word + b"}\n"
    numbers = range(1, params["arguments"]["times"] + 1)
    sys.stdout.buffer.write(b"".join(notification % number for number in numbers))
    return b'{"asked":true}'


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "id" not in message:
            continue
        method, params = message["method"], message.get("params", {})
        result = burst(params) if method == "tools/call" else _RESULTS.get(method, b"{}")
        sys.stdout.buffer.write(b'{"jsonrpc":"2.0","id":%d,"result":%s}\n' % (message["id"], result))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
