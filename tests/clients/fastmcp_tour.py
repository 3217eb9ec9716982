"""FastMCP's client on a tour: `python fastmcp_tour.py TOUR`, both in JSON."""

import asyncio
import json
import sys

from fastmcp import Client
from fastmcp.exceptions import ToolError
from mcp.shared.exceptions import MCPError


async def main(tour):
    mode = "legacy" if tour["era"] == "legacy" else tour["version"]
    async with Client(tour["url"], mode=mode, timeout=60) as client:
        seen = {
            "version": client.protocol_version,
            "tools": [tool.name for tool in await client.list_tools()],
            "resources": [str(resource.uri) for resource in await client.list_resources()],
            "prompts": [prompt.name for prompt in await client.list_prompts()],
            "called": {},
            "read": {},
            "filled_in": {},
            "failed": [],
        }
        for name, arguments in tour["calls"].items():
            seen["called"][name] = (await client.call_tool(name, arguments)).content[0].text
        for uri in tour["reads"]:
            seen["read"][uri] = (await client.read_resource(uri))[0].text
        for name, arguments in tour["prompts"].items():
            seen["filled_in"][name] = (await client.get_prompt(name, arguments)).messages[0].content.text
        for name in tour["failing"]:
            try:
                await client.call_tool(name, {})
            except (MCPError, ToolError):
                seen["failed"].append(name)
    return seen


sys.stdout.write(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))))
