"""A stdio server whose every answer is bytes of its own: `python -m tests.support.mcp_servers.verbatim [WORD]`.

Standard library only.
"""

import json
import sys

ODD = b'{ "content":[ ] ,"n":1.0e5,"big":123456789012345678901234567890,"u":"\\u00fc\xc3\xbc","n":0.10 ,"word":"%s"}'
"""What nothing that reads and writes JSON anew would leave as it is."""

TOOL, RESOURCE, PROMPT = "odd", "odd://words", "odd_prompt"
_DISCOVERED = b'{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{},"resources":{},"prompts":{}}}'
_LISTS = {
    "tools/list": b'{"tools":[{"name":"odd","inputSchema":{"type":"object"},"vendor":{"x":1}}]}',
    "resources/list": b'{"resources":[{"uri":"odd://words","name":"words"}]}',
    "resources/templates/list": b'{"resourceTemplates":[]}',
    "prompts/list": b'{"prompts":[{"name":"odd_prompt"}]}',
}


def odd_result(word: str = "") -> bytes:
    """Return the bytes of every result of a server started with `word`."""
    return ODD % word.encode()


def main() -> None:
    """Answer until the input ends."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "id" not in message:
            continue
        method = message["method"]
        result = _DISCOVERED if method == "server/discover" else _LISTS.get(method, odd_result(word))
        sys.stdout.buffer.write(b'{"jsonrpc":"2.0","id":%d,"result":%s}\n' % (message["id"], result))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
