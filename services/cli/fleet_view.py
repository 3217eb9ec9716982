"""A snapshot as rows of text: servers with why they are down, workers, processes."""

from dataclasses import dataclass
from pathlib import Path

from bus_schemas.names import SERVER_NAME
from services.cli.location import Run
from services.cli.processes import is_alive
from services.cli.snapshot import Snapshot

SERVER_COLUMNS = ("SERVER", "STATUS", "VERSIONS", "TOOLS", "LATENCY", "WHY")
WORKER_COLUMNS = ("WORKER", "SERVER", "VERSION", "STATE", "IN FLIGHT", "STARTED")
PROCESS_COLUMNS = ("PROCESS", "PID", "STATE")


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
        why = health.error or "" if health else ""
        if status != "connected" and run is not None and (log := newest_stderr(run.folder, name)):
            why = f"{why}; its stderr: {log}" if why else f"its stderr: {log}"
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


def newest_stderr(state_dir: Path, server: str) -> Path | None:
    """Return the newest file that holds the stderr of `server`, if there is one."""
    if not SERVER_NAME.match(server):  # the name came over the network, and is about to be a pattern
        return None
    dated = []
    for path in (state_dir / "servers").glob(f"{server}.*.log"):
        try:
            dated.append((path.stat().st_mtime, path))
        except FileNotFoundError:  # its worker has just made room for newer ones
            continue
    return max(dated, default=(0.0, None))[1]
