"""Starts the example servers as a user would, and stops what it started."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 20


@dataclass(frozen=True)
class HttpServer:
    """A server that listens."""

    url: str
    process: Process


def command(server: str, *options: str) -> list[str]:
    """Return the command line that starts an example."""
    return [sys.executable, "-m", f"examples.{server}", *options]


def stdio(server: str, *options: str) -> StdioServerParameters:
    """Return what a client needs to start an example over stdio."""
    program, *arguments = command(server, *options)
    return StdioServerParameters(command=program, args=arguments, cwd=ROOT)


@asynccontextmanager
async def over_http(server: str, *options: str) -> AsyncIterator[HttpServer]:
    """Run an example on a free port for as long as the block lasts."""
    process = await anyio.open_process(
        command(server, "--port", "0", *options), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        with anyio.fail_after(START_TIMEOUT_S):
            yield HttpServer(await _url(process), process)
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.aclose()


@asynccontextmanager
async def client_of(transport: str, server: str, *options: str, mode: str = "auto") -> AsyncIterator[Client]:
    """Connect a client to an example of its own, over `stdio` or `http`."""
    with anyio.fail_after(START_TIMEOUT_S):
        if transport == "stdio":
            async with Client(stdio(server, *options), mode=mode) as client:
                yield client
        else:
            async with over_http(server, *options) as http, Client(http.url, mode=mode) as client:
                yield client


async def _url(process: Process) -> str:
    assert process.stderr is not None
    said = ""
    async for text in TextReceiveStream(process.stderr):
        said += text
        if "Uvicorn running on " in said and "(Press" in said:
            return said.split("Uvicorn running on ")[1].split(" ")[0] + "/mcp"
    raise AssertionError(f"the server did not start: {said}")
