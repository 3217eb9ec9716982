"""What `busbar status` says of a server that is down: why, what that means, and which file says more."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.cli.fleet_view import server_rows
from services.cli.location import Keys, Run, RunState
from services.cli.snapshot import HealthReport, ListedWorker, ServerHealth, Snapshot, WorkerList


def why(folder: Path, error: str, *, worker_state: str | None = None, server: str = "a") -> str:
    """Return the last cell of the one server's row."""
    health = HealthReport(status="unhealthy", mcp_servers={server: ServerHealth(status="disconnected", error=error)})
    worker = None
    if worker_state is not None:
        started_at = datetime(2026, 1, 1, tzinfo=UTC)
        worker = ListedWorker(
            instance="q7", server=server, version="0.0.0", state=worker_state, in_flight=0, started_at=started_at
        )
    snapshot = Snapshot(
        servers=None, health=health, workers=WorkerList(workers=[worker] if worker else []), troubles=()
    )
    state = RunState(orchestrators=["http://127.0.0.1:1"], health="", admin="", nats="", keys=Keys())
    [row] = server_rows(snapshot, Run(folder=folder, state=state, shown={}))
    return row.why


def write(path: Path, text: str = "Traceback\n", *, changed_at: float = 1000.0) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    os.utime(path, (changed_at, changed_at))
    return path


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            "Process exited",
            "Process exited: it is started again each time, ever more slowly, after 15 s at most",
        ),
        ("Not responding", "Not responding: it is there and does not answer"),
        ("Protocol error", "Protocol error: what answers there refuses us, or does not speak MCP"),
        ("Connection refused", "Connection refused"),
        ("No live worker", "No live worker"),
    ],
)
def test_the_word_for_why_a_server_is_down_is_explained_where_it_needs_to_be(
    tmp_path: Path, error: str, told: str
) -> None:
    assert why(tmp_path, error) == told


@pytest.mark.parametrize(
    ("worker_state", "error", "told"),
    [
        ("unavailable", "No live worker", "No live worker: its worker runs and waits for the server's first answer"),
        ("draining", "No live worker", "No live worker"),
        ("unavailable", "Maintenance", "Maintenance"),
    ],
)
def test_a_server_whose_worker_waits_for_its_first_answer_is_starting(
    tmp_path: Path, worker_state: str, error: str, told: str
) -> None:
    assert why(tmp_path, error, worker_state=worker_state) == told


def test_the_newest_stderr_that_says_something_is_named(tmp_path: Path) -> None:
    write(tmp_path / "logs" / "worker-a-1.log")
    write(tmp_path / "servers" / "a.q1.log", changed_at=1000)
    newest = write(tmp_path / "servers" / "a.q2.log", changed_at=2000)
    write(tmp_path / "servers" / "a.q3.log", "", changed_at=3000)
    write(tmp_path / "servers" / "ab.q4.log", changed_at=4000)
    assert why(tmp_path, "Connection refused") == f"Connection refused; its stderr: {newest}"


def test_the_stderr_of_a_process_that_the_supervisor_started_is_named(tmp_path: Path) -> None:
    stderr = write(tmp_path / "servers" / "a.log")
    assert why(tmp_path, "Connection refused") == f"Connection refused; its stderr: {stderr}"


def test_where_the_server_has_written_nothing_its_workers_log_is_named(tmp_path: Path) -> None:
    write(tmp_path / "servers" / "a.q1.log", "")
    log = write(tmp_path / "logs" / "worker-a-2.log")
    write(tmp_path / "logs" / "worker-a-b-1.log", changed_at=2000)
    assert why(tmp_path, "Connection refused") == f"Connection refused; its worker's log: {log}"
