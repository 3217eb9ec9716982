"""The client that the suite examines: a worker in front of the suite's server, asked all that can be asked of it.

The suite starts `python -m tests.conformance.driver BUSBAR URL`: BUSBAR tells, in JSON, of a running orchestrator and
of what a worker needs in its environment. Which scenario is played does not matter here: whatever the server has is
listed, called, read and filled in, and what asks back is answered.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import anyio
import httpx

from tests.support.processes import python_process

SERVER = "suite"
"""What the suite's server is called in the configuration."""

_ACCEPTED = {"action": "accept", "content": {"confirmed": True}}
_FOCAL_TOOL = "json_schema_2020_12_tool"
_SAMPLES: Mapping[str, Any] = {"number": 5, "integer": 5, "boolean": True, "array": []}
_TIMEOUT_S = 60.0
_POLL_S = 0.05

Query = dict[str, Any]


async def ask_everything(busbar: Mapping[str, Any], url: str) -> None:
    """Ask the server at `url` all that it offers."""
    async with (
        httpx.AsyncClient(base_url=busbar["orchestrator"], timeout=_TIMEOUT_S, trust_env=False) as http,
        python_process("services.worker", SERVER, "--url", url, env=busbar["env"]) as worker,
    ):
        await _wait_until_served(http)
        tools = await _listed(http, "tool")
        queries: list[Query] = [{"resource": resource["uri"]} for resource in await _listed(http, "resource")]
        queries += [{"prompt": prompt["name"]} for prompt in await _listed(http, "prompt")]
        queries += _calls(tools)
        # What asks back is answered when everything else has been asked: nothing of it may have gone along with that.
        for query, result in [(query, await _result(http, query)) for query in queries]:
            if result.get("resultType") == "input_required":
                await _result(http, {**query, **_continuation(result)})
        await worker.terminate()  # in order: the next scenario's worker must not be taken for this one


def _calls(tools: Sequence[Mapping[str, Any]]) -> Iterator[Query]:
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    if "toolCalls" in context:
        for call in context["toolCalls"]:
            # The scenario's `null` is of none of the types in its own schema; Busbar refuses that before the bus.
            arguments = {name: value for name, value in call["arguments"].items() if value is not None}
            yield {"tool": call["name"], "arguments": arguments}
        return
    focal: Mapping[str, Any] = next((tool["inputSchema"] for tool in tools if tool["name"] == _FOCAL_TOOL), {})
    for tool in tools:
        schema = tool["inputSchema"]
        arguments = {name: _sample(schema["properties"][name], focal) for name in schema.get("required", [])}
        yield {"tool": tool["name"], "arguments": arguments}


def _sample(schema: Mapping[str, Any], focal: Mapping[str, Any]) -> Any:
    return focal if schema.get("type") == "object" else _SAMPLES.get(str(schema.get("type")), "word")


def _continuation(result: Mapping[str, Any]) -> Query:
    state = {"request_state": result["requestState"]} if "requestState" in result else {}
    return {"input_responses": dict.fromkeys(result["inputRequests"], _ACCEPTED), **state}


async def _wait_until_served(http: httpx.AsyncClient) -> None:
    with anyio.fail_after(_TIMEOUT_S):
        while {server["status"] for server in (await http.get("/v1/servers")).json()["servers"]} != {"connected"}:
            await anyio.sleep(_POLL_S)


async def _listed(http: httpx.AsyncClient, kind: str) -> list[dict[str, Any]]:
    listed = await http.get(f"/v1/{kind}s", params={"server": SERVER, "limit": 1000})
    return [item[kind] for item in listed.json()[f"{kind}s"]]


async def _result(http: httpx.AsyncClient, query: Query) -> dict[str, Any]:
    answer = await http.post("/v1/query", json={"server": SERVER, **query})
    sys.stdout.write(f"{json.dumps(query)} {answer.status_code} {answer.text}\n")
    result: dict[str, Any] = answer.json().get("result", {})
    return result


if __name__ == "__main__":
    anyio.run(ask_everything, json.loads(sys.argv[1]), sys.argv[2])
