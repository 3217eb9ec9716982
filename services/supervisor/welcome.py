"""What `busbar up` prints when the system is ready: URLs, keys, how the servers are, and a sample to paste."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from services.supervisor.readiness import CONNECTED, STARTING

_STYLES = {CONNECTED: "green", STARTING: "yellow"}
_SAMPLE_TOOL = ("product_metadata_mcp", "resolve_product")
_SAMPLE_ARGUMENTS = {"alias": "abracadabra"}


def sample_query(tools: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return a query to try: the example's if its server is there, else of the first tool; None without tools.

    Args:
        tools: as `GET /v1/tools` lists them.
    """
    offered = [(item["server"], item["tool"]["name"]) for item in tools]
    if not offered:
        return None
    server, tool = _SAMPLE_TOOL if _SAMPLE_TOOL in offered else offered[0]
    arguments = _SAMPLE_ARGUMENTS if (server, tool) == _SAMPLE_TOOL else {}
    return {"server": server, "tool": tool, "arguments": arguments}


def show_welcome(
    console: Console, state: Mapping[str, Any], servers: Mapping[str, str], sample: Mapping[str, Any] | None
) -> None:
    """Print it all.

    Args:
        console: of stdout.
        state: the object that `--json` prints.
        servers: how each is, by name.
        sample: a query to try, if there is a tool.
    """
    rows = [
        *(("queries", f"{url}/v1/query", "") for url in state["orchestrators"]),
        ("docs", f"{state['orchestrators'][0]}/docs", ""),
        ("health", f"{state['health']}/health/mcp", ""),
        ("console", state["admin"], ""),
        *((f"server {name}", status, _STYLES.get(status, "red")) for name, status in servers.items()),
        ("query key", state["keys"]["query"], ""),
        ("admin key", state["keys"]["admin"], ""),
    ]
    width = max(len(label) for label, _, _ in rows)
    lines = [Text("\nBusbar is ready.\n", style="bold green")]
    lines += [Text.assemble(f"  {label:{width}}  ", (value, style)) for label, value, style in rows]
    if sample is not None:
        lines += [Text("\nTry it:\n", style="bold"), Text(_curl(state, sample))]
    lines.append(Text("\nCtrl-C finishes what is in flight and stops everything.", style="dim"))
    # No table, nothing folded at the terminal's width: keys and the sample are to be copied whole.
    console.print(Text("\n").join(lines), soft_wrap=True)


def _curl(state: Mapping[str, Any], sample: Mapping[str, Any]) -> str:
    return (
        f"curl -s {state['orchestrators'][0]}/v1/query \\\n"
        f"  -H 'authorization: Bearer {state['keys']['query']}' \\\n"
        f"  -H 'content-type: application/json' \\\n"
        f"  -d {shlex.quote(json.dumps(sample))}"
    )
