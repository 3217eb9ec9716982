"""A stdio server that breaks the rules on request: `python raw_stdio.py [--legacy] [--silent] [--exit-on-discover] …`.

Standard library only, and no JSON library for what it answers: its bytes are its own.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

ODD_RESULT = (
    b'{ "content":[ ] ,"n":1.0e5,"big":123456789012345678901234567890,"u":"\\u00fc\xc3\xbc","n":0.10, "x":{"y":[{}]}}'
)
DEPTH = 500
LONG_LINE_BYTES = 33 * 2**20

_lock = threading.Lock()


def write(line: bytes) -> None:
    """Write one line at once."""
    with _lock:
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()


def answer(request_id: Any, result: bytes) -> None:
    """Answer a request."""
    write(b'{"jsonrpc":"2.0","result":' + result + b',"id":' + json.dumps(request_id).encode() + b"}")


def refuse(request_id: Any, error: bytes) -> None:
    """Refuse a request."""
    write(b'{"jsonrpc":"2.0","id":' + json.dumps(request_id).encode() + b',"error":' + error + b"}")


def call(request_id: Any, name: str, arguments: dict[str, Any]) -> None:  # noqa: C901, PLR0912
    """Do what the tool's name says."""
    match name:
        case "odd":
            answer(request_id, ODD_RESULT)
        case "fill":
            answer(request_id, b'{"x":"' + b"x" * (arguments["size"] - 8) + b'"}')
        case "deep":
            answer(request_id, b'{"x":' + b"[" * DEPTH + b"]" * DEPTH + b"}")
        case "garbage":
            write(b"Hello, I am a banner")
            write(b'{"not": "a message"}')
            write(b"\xff\xfe\x00 [1,2")
            answer(request_id, b"{}")
        case "nan":
            answer(request_id, b'{"x":NaN}')
        case "bad-utf8":
            answer(request_id, b'{"x":"\xff"}')
        case "no-object":
            answer(request_id, b"[1]")
        case "long-line":
            answer(request_id, b'{"x":"' + b"x" * LONG_LINE_BYTES + b'"}')
        case "long-line-id-first":
            refuse(request_id, b'{"code":1,"message":"' + b"x" * LONG_LINE_BYTES + b'","data":{"id":1}}')
        case "long-line-id-hidden":
            write(b'{"result":{},"id":%d,"x":"' % request_id + b"x" * LONG_LINE_BYTES + b'"}')
        case "exit":
            os._exit(3)
        case "refuse":
            refuse(request_id, b'{"code":-32602, "message":"no \xc3\xbc","data":{"x":[1.0]}}')
        case "never":
            pass
        case "stop-reading":
            time.sleep(3600)
        case "later":
            threading.Timer(arguments["seconds"], answer, (request_id, b"{}")).start()
        case "ask":
            write(b'{"jsonrpc":"2.0","id":"s1","method":"ping"}')
            write(b'{"jsonrpc":"2.0","id":"s2","method":"sampling/createMessage","params":{}}')
            answer(request_id, b"{}")
        case "change":
            write(b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}')
            answer(request_id, b"{}")
        case _:
            refuse(request_id, b'{"code":-32602,"message":"unknown tool"}')


def handle(message: dict[str, Any], flags: set[str]) -> None:
    """Answer one message."""
    request_id = message.get("id")
    match message.get("method"):
        case "server/discover" if "--exit-on-discover" in flags:
            os._exit(4)
        case "server/discover" if "--silent-on-discover" in flags:
            pass
        case "server/discover" if "--legacy" not in flags:
            answer(request_id, b'{"supportedVersions":["2026-07-28"],"capabilities":{},"resultType":"complete"}')
        case "initialize" if "--modern" not in flags:
            offered = message["params"]["protocolVersion"]
            version = next(
                (flag.removeprefix("--version=") for flag in flags if flag.startswith("--version=")), offered
            )
            server = {"name": "raw", "version": "1"}
            said = {"protocolVersion": version, "capabilities": {}, "serverInfo": server}
            answer(request_id, json.dumps(said).encode())
        case "ping":
            answer(request_id, b"{}")
        case "tools/list":
            answer(request_id, b'{"tools":[{"name":"odd","inputSchema":{"type":"object"},"vendor":{"x":1}}]}')
        case "tools/call":
            call(request_id, message["params"]["name"], message["params"].get("arguments", {}))
        case _ if request_id is not None:
            refuse(request_id, b'{"code":-32601,"message":"Method not found"}')


def main() -> None:
    """Serve until the input ends; with `--log=FILE` every message that comes in is kept there."""
    flags = set(sys.argv[1:])
    log = next((Path(flag.removeprefix("--log=")) for flag in flags if flag.startswith("--log=")), None)
    flags = {flag for flag in flags if not flag.startswith("--log=")}
    for line in sys.stdin.buffer:
        if log is not None:
            with log.open("ab") as file:
                file.write(line)
        if "--silent" in flags:
            continue
        message = json.loads(line)
        if "method" in message:
            handle(message, flags)


if __name__ == "__main__":
    main()
