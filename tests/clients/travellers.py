"""How each client is sent on a tour."""

import json
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from mcp import Client
from mcp.shared.exceptions import MCPError

from tests.clients.tour import VERSIONS, Seen, Tour
from tests.strangers.strangers import INSTALLED, NODE, new_node
from tests.support.processes import running

_HERE = Path(__file__).parent
_INSPECTOR = NODE / "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"
_TYPESCRIPT_SDK = NODE / "node_modules/@modelcontextprotocol/client/dist/index.mjs"
_TIMEOUT_S = 120.0


class ClientFailedError(AssertionError):
    """A client ended with an error."""


async def python_sdk(tour: Tour) -> Seen:
    """The official Python SDK's client, in this process."""
    mode = "legacy" if tour.era == "legacy" else VERSIONS[tour.era]
    async with Client(tour.url, mode=mode, read_timeout_seconds=60) as client:
        failed = []
        for name in tour.failing:
            try:
                await client.call_tool(name, {})
            except MCPError:
                failed.append(name)
        return Seen(
            version=client.protocol_version,
            tools=[tool.name for tool in await _all(client.list_tools, "tools")],
            resources=[str(resource.uri) for resource in await _all(client.list_resources, "resources")],
            prompts=[prompt.name for prompt in await _all(client.list_prompts, "prompts")],
            called={
                name: _text((await client.call_tool(name, {**given})).content[0]) for name, given in tour.calls.items()
            },
            read={uri: _text((await client.read_resource(uri)).contents[0]) for uri in tour.reads},
            filled_in={
                name: _text((await client.get_prompt(name, {**given})).messages[0].content)
                for name, given in tour.prompts.items()
            },
            failed=failed,
        )


async def fastmcp(tour: Tour) -> Seen:
    """FastMCP's client."""
    python = INSTALLED / "python" / "bin" / "python"
    return _seen(await _output([str(python), str(_HERE / "fastmcp_tour.py"), json.dumps(tour.as_json())]))


async def typescript_sdk(tour: Tour) -> Seen:
    """The TypeScript SDK's client."""
    script = str(_HERE / "typescript_tour.mjs")
    return _seen(await _output([new_node(), script, _TYPESCRIPT_SDK.as_uri(), json.dumps(tour.as_json())]))


async def inspector(tour: Tour) -> Seen:
    """The Inspector's command line: one process, and one connection, for each thing that is asked."""
    with tempfile.TemporaryDirectory(prefix="busbar-inspector-") as home:

        async def ask(method: str, *arguments: str) -> dict[str, Any]:
            where = [tour.url, "--transport", "http", "--protocol-era", tour.era, "--format", "json"]
            argv = [new_node(), str(_INSPECTOR), "--cli", *where, "--method", method, *arguments]
            result: dict[str, Any] = json.loads(await _output(argv, {"HOME": home}))["result"]
            return result

        failed = []
        for name in tour.failing:
            try:
                await ask("tools/call", "--tool-name", name)
            except ClientFailedError:
                failed.append(name)
        tools, resources, prompts = [await ask(f"{kind}/list") for kind in ("tools", "resources", "prompts")]
        called = {
            name: await ask("tools/call", "--tool-name", name, *_pairs("--tool-arg", given))
            for name, given in tour.calls.items()
        }
        read = {uri: await ask("resources/read", "--uri", uri) for uri in tour.reads}
        filled_in = {
            name: await ask("prompts/get", "--prompt-name", name, *_pairs("--prompt-args", given))
            for name, given in tour.prompts.items()
        }
        return Seen(
            version=(await ask("initialize"))["protocolVersion"],
            tools=[tool["name"] for tool in tools["tools"]],
            resources=[resource["uri"] for resource in resources["resources"]],
            prompts=[prompt["name"] for prompt in prompts["prompts"]],
            called={name: answer["content"][0]["text"] for name, answer in called.items()},
            read={uri: answer["contents"][0]["text"] for uri, answer in read.items()},
            filled_in={name: answer["messages"][0]["content"]["text"] for name, answer in filled_in.items()},
            failed=failed,
        )


TRAVELLERS: Mapping[str, Callable[[Tour], Awaitable[Seen]]] = {
    "python-sdk": python_sdk,
    "fastmcp": fastmcp,
    "typescript-sdk": typescript_sdk,
    "inspector": inspector,
}


async def _all(list_page: Callable[..., Awaitable[Any]], kind: str) -> list[Any]:
    found: list[Any] = []
    cursor: str | None = None
    while True:
        page = await list_page(cursor=cursor)
        found += getattr(page, kind)
        if (cursor := page.next_cursor) is None:
            return found


def _text(content: Any) -> str:
    return str(content.text)


def _pairs(option: str, given: Mapping[str, Any]) -> list[str]:
    return [word for name, value in given.items() for word in (option, f"{name}={value}")]


def _seen(output: str) -> Seen:
    return msgspec.json.decode(output, type=Seen)


async def _output(argv: list[str], env: Mapping[str, str] | None = None) -> str:
    async with running(argv, env=env) as process:
        if await process.wait(timeout_s=_TIMEOUT_S) != 0:
            raise ClientFailedError(f"{argv}\n{process.stdout()[-2000:]}\n{process.stderr()[-4000:]}")
        return process.stdout()
