"""A server whose results are as large as one asks: `python -m tests.bench.capacity.sdk_server [--stdio]`."""

from tests.bench.sdk_serving import serve

if __name__ == "__main__":
    serve(
        "answer",
        {"bytes": {"type": "integer"}, "number": {"type": "integer"}},
        "bytes",
        lambda arguments: "x" * int(arguments["bytes"]),
    )
