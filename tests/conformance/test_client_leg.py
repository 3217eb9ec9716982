"""Towards a server Busbar is the client that the conformance suite wants, whoever asks it."""

import json
import shlex
import sys
from collections.abc import AsyncIterator

import pytest

from tests.conformance.driver import SERVER
from tests.conformance.suite import IS_INSTALLED, examine_client
from tests.support.fleet import Fleet, fleet

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not IS_INSTALLED, reason="the suite is not installed by `make strangers`"),
]

SCENARIOS = [
    "http-custom-headers",
    "http-invalid-tool-headers",
    "http-standard-headers",
    "json-schema-2020-12-preservation",
    "json-schema-ref-no-deref",
    "request-metadata",
    "sep-2322-client-request-state",
    "tools_call",
]
"""All that 2026-07-28 requires of clients, but for those about authorization, and one that came after its release."""


@pytest.fixture(scope="module")
async def busbar() -> AsyncIterator[Fleet]:
    """An orchestrator; the worker comes with the suite's server."""
    async with fleet({SERVER: {"url": "http://127.0.0.1:9/mcp"}}, workers={}) as busbar:
        yield busbar


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_the_suites_server_finds_nothing_wrong_with_who_asks_it(busbar: Fleet, scenario: str) -> None:
    told = json.dumps({"orchestrator": busbar.urls[0], "env": busbar.env})
    driver = shlex.join([sys.executable, "-m", "tests.conformance.driver", told])
    report = await examine_client(driver, scenario, "2026-07-28")
    sys.stdout.write(report.output)
    assert (report.status, report.failing()) == (0, {})
    assert "SUCCESS" in {status for told in report.findings.values() for status in told}
