"""A client in a cluster that asks for a password finds its way when its node dies."""

from pathlib import Path
from typing import Any

import pytest

from services.runtime.bus.client import HardenedClient
from tests.chaos.bus import chaos_bus
from tests.support.buses import be_quick, connected
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def test_a_node_that_was_only_told_of_lets_us_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen to fail with the stock client's list of servers: the second node refuses who brings no password."""
    be_quick(monkeypatch)
    async with chaos_bus(tmp_path, nodes=2) as cluster:
        first, second = cluster.nodes
        async with connected(first.url) as side:
            await until(lambda: len(side.bus._client.servers) == 2)
            await first.kill()
            await until(lambda: side.bus.connected and side.bus.reconnects, timeout_s=10)
            assert side.bus._client.connected_url is not None
            assert side.bus._client.connected_url.port == second.port
            assert not side.life.stopping.is_set()


async def test_nodes_that_are_known_already_are_not_added_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen to fail with the stock client: each node is there twice, once without its password."""
    told: list[list[str]] = []
    process_info = HardenedClient._process_info

    async def listening(client: HardenedClient, info: dict[str, Any], initial_connection: bool = False) -> None:
        await process_info(client, info, initial_connection)
        told.append(info.get("connect_urls") or [])

    monkeypatch.setattr(HardenedClient, "_process_info", listening)
    async with chaos_bus(tmp_path, nodes=2) as cluster:
        async with connected(cluster.url) as side:
            ours = side.bus._client.connected_url
            assert ours is not None
            (other,) = (node for node in cluster.nodes if node.port != ours.port)  # the client shuffles its list
            await other.kill()
            await until(lambda: f"127.0.0.1:{other.port}" not in told[-1])
            await other.restart()
            await until(lambda: f"127.0.0.1:{other.port}" in told[-1])
            assert len(side.bus._client.servers) == 2
