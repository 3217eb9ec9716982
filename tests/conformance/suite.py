"""Runs `@modelcontextprotocol/conformance`, and reads what it has found."""

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.strangers.strangers import NODE, new_node
from tests.support.processes import running

Revision = Literal["2026-07-28", "2025-11-25"]
Findings = Mapping[str, Sequence[str]]
"""By `scenario/check`: each status that the check had, in a fixed order. What is only told (INFO) is left out."""

IS_INSTALLED = (NODE / ".installed").exists()

_PROGRAM = NODE / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
_TIMESTAMP = re.compile(r"-\d{4}-\d\d-\d\dT[\dZ-]+$")
_SCENARIO_MS = 120_000
_TIMEOUT_S = 180.0


@dataclass(frozen=True)
class Report:
    """What one run has found."""

    status: int
    """Of the command: 0 if everything that is required has passed."""
    findings: Findings
    output: str

    def failing(self) -> dict[str, Sequence[str]]:
        """Return the checks that did not pass, skipped ones aside."""
        return {check: told for check, told in self.findings.items() if not {*told} <= {"SUCCESS", "SKIPPED"}}


async def examine_server(url: str, revision: Revision) -> Report:
    """Run all that `revision` requires of a server, and what is not scored, against the one at `url`."""
    return await _run("server", "--url", url, "--requirements", revision)


async def examine_client(command: str, scenario: str, revision: Revision) -> Report:
    """Run one scenario for clients: a server is started, then `command` with its URL as the last argument."""
    return await _run("client", "--command", command, "--scenario", scenario, "--spec-version", revision)


async def _run(*arguments: str) -> Report:
    with tempfile.TemporaryDirectory(prefix="busbar-conformance-") as folder:
        options = ["--timeout", str(_SCENARIO_MS), "--output-dir", folder]
        async with running([new_node(), str(_PROGRAM), *arguments, *options]) as process:
            status = await process.wait(timeout_s=_TIMEOUT_S)
        return Report(status, _findings(Path(folder)), process.stdout() + process.stderr())


def _findings(folder: Path) -> Findings:
    findings: dict[str, list[str]] = {}
    for file in folder.glob("*/checks.json"):
        scenario = _TIMESTAMP.sub("", file.parent.name).removeprefix("server-")
        for check in json.loads(file.read_text()):
            if check["status"] != "INFO":
                findings.setdefault(f"{scenario}/{check['id']}", []).append(check["status"])
    return {check: sorted(told) for check, told in sorted(findings.items())}
