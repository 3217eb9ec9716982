"""Every check of the conformance suite ends as it ends without Busbar in between."""

import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.conformance.suite import IS_INSTALLED, Report, Revision, examine_server
from tests.support.fleet import fleet
from tests.support.ports import free_port
from tests.support.processes import python_process, wait_listening

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not IS_INSTALLED, reason="the suite is not installed by `make strangers`"),
]

REVISIONS: tuple[Revision, ...] = get_args(Revision)
DIFFERENCES = Path(__file__).with_name("differences.json")

SERVERS: Mapping[str, Mapping[str, str]] = {
    "fixture": {},
    "handshaking": {"era": "legacy", "session": "caller"},
}
"""How Busbar speaks to the fixture: as it finds best, or as to a server that knows nothing of 2026-07-28."""
WAYS: Sequence[tuple[str, Revision]] = [
    ("fixture", "2026-07-28"),
    ("fixture", "2025-11-25"),
    ("handshaking", "2025-11-25"),
]


@asynccontextmanager
async def fixture() -> AsyncIterator[str]:
    """Run a fixture of one's own, and return its URL."""
    port = free_port()
    async with python_process("tests.conformance.fixture", "--port", str(port)) as process:
        await wait_listening(process, port)
        yield f"http://127.0.0.1:{port}/mcp"


@pytest.fixture(scope="module")
async def directly() -> dict[Revision, Report]:
    """What the suite finds at the fixture."""
    async with fixture() as url:
        return {revision: await examine_server(url, revision) for revision in REVISIONS}


@pytest.fixture(scope="module")
async def through_busbar() -> dict[tuple[str, Revision], Report]:
    """What the suite finds at `/servers/<server>/mcp`."""
    async with fixture() as url, fleet({name: {"url": url, **how} for name, how in SERVERS.items()}) as busbar:
        front = f"{busbar.urls[0]}/servers"
        return {(name, revision): await examine_server(f"{front}/{name}/mcp", revision) for name, revision in WAYS}


@pytest.mark.parametrize("revision", REVISIONS)
async def test_the_fixture_alone_passes_all_that_is_required(
    directly: dict[Revision, Report], revision: Revision
) -> None:
    report = directly[revision]
    assert report.status == 0, report.output
    # What is not required is passed too, but for the tasks extension, which the fixture does not have.
    assert not [check for check in report.failing() if not check.startswith("tasks-")]
    assert len(report.findings) > 50


@pytest.mark.parametrize(("server", "revision"), WAYS)
async def test_every_check_ends_through_busbar_as_it_does_without(
    directly: dict[Revision, Report],
    through_busbar: dict[tuple[str, Revision], Report],
    server: str,
    revision: Revision,
) -> None:
    without, through = directly[revision].findings, through_busbar[server, revision].findings
    checks = sorted(without.keys() | through.keys())
    found = {check: through.get(check, []) for check in checks if without.get(check) != through.get(check)}
    allowed: dict[str, dict[str, Any]] = json.loads(DIFFERENCES.read_text())[revision]
    sys.stdout.write(through_busbar[server, revision].output + json.dumps(found, indent=2))
    assert found == {check: difference["through_busbar"] for check, difference in allowed.items()}
    assert all(difference["reason"] for difference in allowed.values())
