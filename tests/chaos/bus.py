"""NATS for the rows: users with the permissions of production, and one node or a cluster of three."""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from tests.support.ports import free_port
from tests.support.servers import NatsServer

_WORKER_PUBLISHES = (
    "mcp.v1.event.worker.>",
    "_INBOX.>",
    "_INBOX_admin.>",
    "_INBOX_orchestrator.>",
    "_INBOX_worker.>",
)
_WORKER_SUBSCRIBES = ("mcp.v1.call.>", "mcp.v1.cancel.*", "mcp.v1.control.>", "$SRV.>", "_INBOX_worker.>")


class ChaosBus:
    """The nodes, and the URLs by which services and workers reach all of them."""

    def __init__(self, folder: Path, *, nodes: int) -> None:
        """Prepare `nodes` servers with folders of their own in `folder`."""
        self._password = secrets.token_hex(16)
        self._worker_password = secrets.token_hex(16)
        route_ports = [free_port() for _ in range(nodes)] if nodes > 1 else []
        self.nodes: list[NatsServer] = []
        for number in range(nodes):
            place = folder / f"nats-{number}"
            place.mkdir()
            cluster = _cluster(number, route_ports) if nodes > 1 else ""
            self.nodes.append(NatsServer(place, config=self._users() + cluster, password=self._password))

    @property
    def url(self) -> str:
        """Of orchestrators and callers, all nodes by commas."""
        return ",".join(node.url for node in self.nodes)

    @property
    def worker_url(self) -> str:
        """Of workers, all nodes by commas."""
        return ",".join(f"nats://worker:{self._worker_password}@127.0.0.1:{node.port}" for node in self.nodes)

    def reconfigured(self) -> str:
        """Return another configuration of a single node, for `NatsServer.reload`: one more user, and another limit."""
        return self._users(f"{{user: newcomer, password: {secrets.token_hex(16)}}}") + "write_deadline: 4s\n"

    def _users(self, *more: str) -> str:
        permissions = f"{{publish: {_allow(_WORKER_PUBLISHES)}, subscribe: {_allow(_WORKER_SUBSCRIBES)}}}"
        users = (
            f"{{user: busbar, password: {self._password}}}",
            # By explicit permission, not allow_responses: a reload forgets those, and the answers in flight with them.
            f"{{user: worker, password: {self._worker_password}, permissions: {permissions}}}",
            *more,
        )
        return f"authorization {{ users: [{', '.join(users)}] }}\n"


def _allow(subjects: tuple[str, ...]) -> str:
    return f"{{allow: {json.dumps(subjects)}}}"


def _cluster(number: int, ports: list[int]) -> str:
    routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports)
    own = f"name: chaos, listen: 127.0.0.1:{ports[number]}, routes: [{routes}]"
    return f"server_name: node-{number}\ncluster {{ {own} }}\n"


@asynccontextmanager
async def chaos_bus(folder: Path, *, nodes: int) -> AsyncIterator[ChaosBus]:
    """Run the nodes; a cluster is whole before anybody connects."""
    bus = ChaosBus(folder, nodes=nodes)
    with ExitStack() as ends:
        for node in bus.nodes:
            ends.callback(node.end)
            await node.start_on_free_port()
        yield bus
