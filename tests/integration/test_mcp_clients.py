"""The official SDK's client, in both eras, before a fleet of both: it lists, calls, reads, prompts and completes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError
from mcp_types import PromptReference, ResourceTemplateReference, TextContent, TextResourceContents

from tests.support.fleet import Fleet, fleet, python_server
from tests.support.mcp_wire import LegacyClient
from tests.support.ports import free_port
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

SDK = "tests.support.mcp_servers.sdk_server"
MODES = ["2026-07-28", "auto", "legacy"]
TOOLS = {"echo", "process_id", "environment", "sleep", "fill", "count", "climb", "step", "crash", "speak"}


def over_http(era: str) -> dict[str, Any]:
    port = free_port()
    url = {"url": f"http://127.0.0.1:{port}/mcp", "transport": "http"}
    return python_server(SDK, "--port", str(port), era=era, **url)


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Fleet]:
    config = {"new": python_server(SDK, era="modern"), "old": over_http("legacy")}
    async with fleet(config, orchestrators=2) as running:
        yield running


@asynccontextmanager
async def client(running: Fleet, mode: str, path: str = "/mcp", orchestrator: int = 0) -> AsyncIterator[Client]:
    with anyio.fail_after(60):
        async with Client(running.urls[orchestrator] + path, mode=mode) as connected:
            yield connected


def text_of(content: object) -> str:
    assert isinstance(content, TextContent | TextResourceContents)
    return content.text


@pytest.mark.parametrize("mode", MODES)
async def test_tools_of_all_servers_are_listed_and_called_by_their_names(running: Fleet, mode: str) -> None:
    async with client(running, mode) as connected:
        listed = [tool.name for tool in (await connected.list_tools()).tools]
        assert listed == sorted(f"{server}__{tool}" for server in ("new", "old") for tool in TOOLS)
        for server in ("new", "old"):
            result = await connected.call_tool(f"{server}__echo", {"value": [server, "ö"]})
            assert text_of(result.content[0]) == f'["{server}", "ö"]'


@pytest.mark.parametrize("mode", MODES)
async def test_resources_that_several_servers_have_are_told_apart_by_a_prefix(running: Fleet, mode: str) -> None:
    async with client(running, mode) as connected:
        listed = [str(resource.uri) for resource in (await connected.list_resources()).resources]
        assert listed == ["busbar+new:fixture://words", "busbar+old:fixture://words"]
        templates = [one.uri_template for one in (await connected.list_resource_templates()).resource_templates]
        assert templates == ["busbar+new:fixture://squares/{number}", "busbar+old:fixture://squares/{number}"]
        for uri, text in ((listed[1], "zwei Wörter"), ("busbar+new:fixture://squares/12", "144")):
            read = await connected.read_resource(uri)
            assert text_of(read.contents[0]) == text


@pytest.mark.parametrize("mode", MODES)
async def test_prompts_are_listed_and_filled_in(running: Fleet, mode: str) -> None:
    async with client(running, mode) as connected:
        listed = [prompt.name for prompt in (await connected.list_prompts()).prompts]
        assert listed == ["new__greeting", "old__greeting"]
        for name in listed:
            filled = await connected.get_prompt(name, {"name": "Ann"})
            assert text_of(filled.messages[0].content) == "Hello, Ann"


@pytest.mark.parametrize("mode", MODES)
async def test_arguments_of_prompts_and_templates_are_completed(running: Fleet, mode: str) -> None:
    async with client(running, mode) as connected:
        for server in ("new", "old"):
            prompt = PromptReference(name=f"{server}__greeting")
            completed = await connected.complete(prompt, {"name": "name", "value": "A"}, {"tone": "warm"})
            assert completed.completion.values == ["ref/prompt", "name=A", "tone"]
            template = ResourceTemplateReference(uri=f"busbar+{server}:fixture://squares/{{number}}")
            completed = await connected.complete(template, {"name": "number", "value": "1"})
            assert completed.completion.values == ["ref/resource", "number=1"]


@pytest.mark.parametrize("mode", MODES)
async def test_one_server_is_a_server_of_its_own_at_its_own_address(running: Fleet, mode: str) -> None:
    async with client(running, mode, "/servers/old/mcp", orchestrator=1) as connected:
        assert connected.server_info is None or connected.server_info.name == "old"  # None: it never asked
        assert {tool.name for tool in (await connected.list_tools()).tools} == TOOLS
        assert text_of((await connected.call_tool("fill", {"size": 3})).content[0]) == "xxx"
        assert text_of((await connected.read_resource("fixture://squares/3")).contents[0]) == "9"
        assert text_of((await connected.get_prompt("greeting", {"name": "Bo"})).messages[0].content) == "Hello, Bo"
        completed = await connected.complete(PromptReference(name="greeting"), {"name": "name", "value": ""})
        assert completed.completion.values == ["ref/prompt", "name="]


@pytest.mark.parametrize("mode", MODES)
async def test_what_there_is_not_is_refused_in_the_words_of_the_era(running: Fleet, mode: str) -> None:
    async with client(running, mode) as connected:
        for asking in (connected.call_tool("new__nothing", {}), connected.get_prompt("nobody__greeting")):
            with pytest.raises(MCPError) as caught:
                await asking
            assert caught.value.code == -32602
            assert "Unknown" in caught.value.message
        with pytest.raises(MCPError) as caught:
            await connected.read_resource("nothing://here")
        assert caught.value.code == (-32002 if mode == "legacy" else -32602)
        wrong = await connected.call_tool("new__sleep", {"seconds": "long"})
        assert wrong.is_error
        assert "/seconds: type" in text_of(wrong.content[0])


@pytest.mark.parametrize("mode", MODES)
async def test_a_caller_hears_each_step_while_its_call_runs(running: Fleet, mode: str) -> None:
    async with client(running, mode) as connected:
        for server in ("new", "old"):
            heard: list[tuple[float, float | None, str | None]] = []
            stepped: list[float] = []

            async def step(progress: float, total: float | None, message: str | None) -> None:
                heard.append((progress, total, message))  # noqa: B023
                await connected.call_tool(f"{server}__step", {})  # noqa: B023
                stepped.append(progress)  # noqa: B023

            result = await connected.call_tool(f"{server}__climb", {"to": 3}, progress_callback=step)
            assert text_of(result.content[0]) == "climbed"
            assert heard == [(number, 3, f"step {number}") for number in (1, 2, 3)]
            await until(lambda: len(stepped) == 3)  # noqa: B023


@pytest.mark.parametrize(
    ("level", "levels"),
    [("debug", ["debug", "info", "error"]), (None, ["info", "error"]), ("warning", ["error"])],
)
@pytest.mark.parametrize("server", ["new", "old"])
async def test_a_legacy_client_is_told_what_a_server_logs_from_its_level_on_whichever_orchestrator_heard_it(
    running: Fleet, server: str, level: str | None, levels: list[str]
) -> None:
    wire = LegacyClient([one.http for one in running.orchestrators])
    with anyio.fail_after(60):
        await wire.shake_hands()
        if level is not None:
            assert "result" in await wire.ask("logging/setLevel", {"level": level}, orchestrator=0)
        for orchestrator in (0, 1):
            call = wire.request("tools/call", {"name": f"{server}__speak", "arguments": {}})
            async with wire.asking(call, orchestrator=orchestrator) as messages:
                told = [message async for message in messages]
            logged = [message["params"] for message in told[:-1]]
            assert [(one["level"], one["data"]) for one in logged] == [(one, f"{one} words") for one in levels]
            assert told[-1]["result"]["content"][0]["text"] == "spoken"
