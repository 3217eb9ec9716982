"""An MCP server that answers at once: `python -m tests.bench.echo_server [--stdio]`."""

from tests.bench.sdk_serving import serve

if __name__ == "__main__":
    serve("echo", {"text": {"type": "string"}}, "text", lambda arguments: str(arguments["text"]))
