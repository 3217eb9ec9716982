"""A snapshot as rows of text: servers with why they are down, workers, processes."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bus_schemas.names import SERVER_NAME
from bus_schemas.workers import ServerFault, WorkerState
from services.cli.location import Run
from services.cli.processes import is_alive
from services.cli.snapshot import Snapshot

SERVER_COLUMNS = ("SERVER", "STATUS", "VERSIONS", "TOOLS", "LATENCY", "WHY")
WORKER_COLUMNS = ("WORKER", "SERVER", "VERSION", "STATE", "IN FLIGHT", "STARTED")
PROCESS_COLUMNS = ("PROCESS", "PID", "STATE")

_WHAT_IT_MEANS: Final[dict[str, str]] = {
    ServerFault.PROCESS_EXITED: "it is started again each time, ever more slowly, after 15 s at most",
    ServerFault.NOT_RESPONDING: "it is there and does not answer",
    ServerFault.PROTOCOL_ERROR: "what answers there refuses us, or does not speak MCP",
}
_NO_LIVE_WORKER: Final = "No live worker"


@dataclass(frozen=True, slots=True)
class ServerRow:
    """One server, as both the orchestrator and the health service know it."""

    name: str
    status: str
    versions: str
    tools: str
    latency: str
    why: str

    def cells(self) -> tuple[str, ...]:
        """The row of the table; its columns are `SERVER_COLUMNS`."""
        return (self.name, self.status, self.versions, self.tools, self.latency, self.why)

    def line(self) -> str:
        """The server in one line, without what changes all the time."""
        return " ".join(part for part in (self.name, self.status, self.versions, self.why) if part)


def server_rows(snapshot: Snapshot, run: Run | None) -> list[ServerRow]:
    """Return every server that anybody told of, by name; the health service has the last word on its status."""
    listed = {one.name: one for one in snapshot.servers.servers} if snapshot.servers else {}
    checked = snapshot.health.mcp_servers if snapshot.health else {}
    rows = []
    for name in sorted({*listed, *checked}):
        server, health = listed.get(name), checked.get(name)
        status = health.status if health else server.status if server else ""
        why = ""
        if status != "connected":
            told = [_reason(health.error if health else None, name, snapshot)]
            told.append("" if run is None else _where_to_look(run.folder, name))
            why = "; ".join(filter(None, told))
        versions = server.versions if server else []
        rows.append(
            ServerRow(
                name=name,
                status=status,
                versions=", ".join(f"{one.version} ×{one.instances} ({one.weight:g} %)" for one in versions),
                tools=str(server.tools) if server else "",
                latency=f"{health.latency_ms} ms" if health and health.latency_ms is not None else "",
                why=why,
            )
        )
    return rows


def worker_rows(snapshot: Snapshot) -> list[tuple[str, ...]]:
    """Return the live workers; the columns are `WORKER_COLUMNS`."""
    return [
        (
            worker.instance,
            worker.server,
            worker.version,
            worker.state,
            str(worker.in_flight),
            worker.started_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        )
        for worker in (snapshot.workers.workers if snapshot.workers else ())
    ]


def process_rows(run: Run) -> list[tuple[str, ...]]:
    """Return the processes of a running `up`; the columns are `PROCESS_COLUMNS`."""
    return [(name, str(pid), "runs" if is_alive(pid) else "gone") for name, pid in run.state.pids.items()]


def headline(snapshot: Snapshot) -> str:
    """Return the whole in one line."""
    health = snapshot.health
    if health is None:
        return ""
    connected = sum(server.status == "connected" for server in health.mcp_servers.values())
    cache = health.cache_stats
    return (
        f"{health.status}: {connected} of {len(health.mcp_servers)} servers connected; "
        f"cache: {cache.entries} entries, {cache.hit_rate:.0%} hits"
    )


def _reason(error: str | None, server: str, snapshot: Snapshot) -> str:
    """Return why a server is down, for somebody who does not know our words."""
    if error is None:
        return ""
    waiting = {
        worker.server
        for worker in (snapshot.workers.workers if snapshot.workers else ())
        if worker.state == WorkerState.UNAVAILABLE
    }
    if error == _NO_LIVE_WORKER and server in waiting:
        # The health service counts workers with a session, and has no other word for one that waits for its first.
        return f"{error}: its worker runs and waits for the server's first answer"
    meaning = _WHAT_IT_MEANS.get(error)
    return f"{error}: {meaning}" if meaning else error


def _where_to_look(state_dir: Path, server: str) -> str:
    """Return which file says more: what the server wrote, or its worker where the server has written nothing."""
    if not SERVER_NAME.match(server):  # the name came over the network, and is about to be a pattern
        return ""
    folder = state_dir / "servers"
    # With an instance in its name: of a process that a worker started; without: of one that the supervisor did.
    stderr = [folder / f"{server}.log", *folder.glob(f"{server}.*.log")]
    prefix = f"worker-{server}-"
    logs = [
        path
        for path in (state_dir / "logs").glob(f"{prefix}*.log")
        if path.stem.removeprefix(prefix).isdigit()  # else of another server, whose name begins like this one's
    ]
    if written := _newest(stderr, least_bytes=1):
        return f"its stderr: {written}"
    if log := _newest(logs):
        return f"its worker's log: {log}"
    return f"its stderr: {empty}" if (empty := _newest(stderr)) else ""


def _newest(paths: Iterable[Path], *, least_bytes: int = 0) -> Path | None:
    dated = []
    for path in paths:
        try:
            status = path.stat()
        except FileNotFoundError:  # its worker has just made room for newer ones
            continue
        if status.st_size >= least_bytes:
            dated.append((status.st_mtime, path))
    return max(dated, default=(0.0, None))[1]
