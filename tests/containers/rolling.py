"""Operates a deployment under load through HAProxy, and accounts for every query: `python -m tests.containers.rolling`.

Its MCP servers write each call into a ledger before its effect (`tests/support/ledger_server.py`).
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import yaml

from tests.containers.deployment import NODES, Deployment, deployed, until
from tests.support.account import Account, account
from tests.support.load_process import load_process
from tests.support.processes import REPOSITORY
from tests.support.records import LedgerLine, RecordLine, Sent, read_ledger, read_record

SERVER: Final = "product_metadata_mcp"
OLD, NEW = "worker-products-1-0-0", "worker-products-1-1-0"
UNDECLARED, DECLARED = "record", "record_idempotent"
DEADLINE_S: Final = 10.0
_TAKES_MS: Final = 20
GOAL: Final = 0.999
"""Of all queries over the whole run, answered."""


@dataclass(frozen=True)
class Step:
    """Something that operators do, or that happens to them."""

    name: str
    do: Callable[[Deployment], None]


@dataclass(frozen=True)
class Window:
    """When a step was done, in seconds since 1970."""

    step: str
    began_at: float
    ended_at: float


@dataclass(frozen=True)
class Outcome:
    """What became of the queries of a run."""

    total: Account
    undeclared: Account
    rows: tuple[str, ...]

    @property
    def share_answered(self) -> float:
        return self.total.answered / self.total.sent

    def wrong(self, goal: float = GOAL) -> list[str]:
        """Return what did not hold; `goal` is the share that is to be answered."""
        found = [
            (f"lost: {self.total.lost[:3]}", self.total.lost),
            (f"run twice: {self.undeclared.repeated[:3]}", self.undeclared.repeated),
            (f"run, though told no: {self.total.ran_after_no[:3]}", self.total.ran_after_no),
            (f"answered: {self.share_answered:.3%}", self.share_answered < goal),
        ]
        return [text for text, is_wrong in found if is_wrong]


EVERYTHING: Final = (
    "orchestrator",
    "health",
    OLD,
    "worker-database",
    "admin",
    *NODES,
    "valkey",
    "prometheus",
    "alertmanager",
)


def steps(*, pause_s: float, step_s: float, restarted: Sequence[str]) -> list[Step]:
    """Return everything that is done, in order.

    Args:
        pause_s: after each change.
        step_s: of each step of the rollout.
        restarted: services that are replaced, one after another.
    """
    return [
        Step("nothing", lambda _: time.sleep(pause_s)),
        Step("orchestrators 2 → 4 → 2", partial(_scale, "orchestrator", (4, 2), pause_s)),
        Step("workers 1 → 3 → 1", partial(_scale, OLD, (3, 1), pause_s)),
        Step(f"rolling restart of {len(restarted) + 1} services", partial(_restart, restarted)),
        Step("MCP server 1.0.0 → 1.1.0", partial(_roll_out, step_s)),
        Step("NATS keys exchanged", _exchange_keys),
        Step("a NATS node killed", partial(_kill, "nats-2", pause_s)),
        Step("a worker of two killed", partial(_kill_a_worker, pause_s)),
        Step("Valkey killed", partial(_kill, "valkey", pause_s)),
        Step("nothing again", lambda _: time.sleep(pause_s)),
    ]


def _scale(service: str, counts: Iterable[int], pause_s: float, one: Deployment) -> None:
    for count in counts:
        one.compose(
            "up", "-d", "--no-deps", "--no-build", "--no-recreate", "--wait", "--scale", f"{service}={count}", service
        )
        assert len(one.containers(service)) == count
        time.sleep(pause_s)


def _restart(services: Sequence[str], one: Deployment) -> None:
    one.roll(*services)
    one.compose("kill", "--signal", "USR2", "haproxy")  # it reads its configuration anew, and closes no port


def _roll_out(step_s: float, one: Deployment) -> None:
    one.environment["COMPOSE_PROFILES"] = "next"
    one.compose("up", "-d", "--no-deps", "--no-build", "--wait", "products-1-1-0", NEW)
    order = {"server": SERVER, "to_version": "1.1.0", "step_s": step_s, "min_requests": 10}
    begun = one.admin("POST", "/v1/rollouts", json=order)
    assert begun.status_code == 201, begun.text
    path = f"/v1/rollouts/{begun.json()['id']}"
    until(lambda: one.admin("GET", path).json()["state"] != "running", "the rollout ends", timeout_s=4 * step_s + 60)
    ended = one.admin("GET", path).json()
    assert ended["state"] == "completed", ended
    until(lambda: one.containers(OLD)[0]["State"]["Status"] == "exited", "the old worker has drained")
    assert one.containers(OLD)[0]["State"]["ExitCode"] == 0
    one.compose("stop", "products-1-0-0")


def _exchange_keys(one: Deployment) -> None:
    one.busbar("init", str(one.folder), "--new-nkeys")
    _reload_nats(one)
    one.roll("orchestrator", "health", "admin", "worker-database", NEW)
    one.busbar("init", str(one.folder), "--drop-old-nkeys")
    _reload_nats(one)


def _reload_nats(one: Deployment) -> None:
    def reloads() -> int:
        return one.compose("logs", "--no-color", *NODES).count("Reloaded server configuration")

    before = reloads()
    one.compose("kill", "--signal", "HUP", *NODES)
    until(lambda: reloads() == before + len(NODES), "every node has read who is let in")


def _kill(service: str, pause_s: float, one: Deployment) -> None:
    one.compose("kill", service)
    time.sleep(pause_s)
    one.compose("up", "-d", "--no-deps", "--no-build", "--no-recreate", "--wait", service)


def _kill_a_worker(pause_s: float, one: Deployment) -> None:
    _scale(NEW, (2,), pause_s, one)
    one.docker("kill", one.containers(NEW)[0]["Id"])
    time.sleep(pause_s)
    _scale(NEW, (2,), 0, one)


async def run(
    folder: Path, *, rate: float, pause_s: float, step_s: float, restarted: Sequence[str] = EVERYTHING
) -> Outcome:
    """Bring a deployment up in `folder`, do everything while `rate` queries a second come, and account for them."""
    ledger = folder / "ledger"
    ledger.mkdir()
    ledger.chmod(0o777)  # the servers run as another user
    records = {tool: folder / f"{tool}.jsonl" for tool in (UNDECLARED, DECLARED)}
    windows: list[Window] = []
    with deployed(folder, _config(folder), _servers(folder, ledger)) as one:
        async with AsyncExitStack() as stack:
            loads = [
                await stack.enter_async_context(
                    load_process(
                        record,
                        server=SERVER,
                        tool=tool,
                        urls=[one.url],
                        key=one.query_key,
                        rate=rate / len(records),
                        ms=_TAKES_MS,
                        timeout_ms=int(DEADLINE_S * 1000),
                    )
                )
                for tool, record in records.items()
            ]
            for load in loads:
                await load.told(1, timeout_s=60)
            for step in steps(pause_s=pause_s, step_s=step_s, restarted=restarted):
                began_at = time.time()
                await anyio.to_thread.run_sync(step.do, one)
                windows.append(Window(step.name, began_at, time.time()))
                _say(f"{step.name}: {time.time() - began_at:.0f} s")
            for load in loads:
                await load.stopped()
    calls = list(read_ledger(ledger / "calls.jsonl"))
    told = {tool: list(read_record(record)) for tool, record in records.items()}
    everything = [line for lines in told.values() for line in lines]
    return Outcome(
        total=account(calls, everything, DEADLINE_S),
        undeclared=account(calls, told[UNDECLARED], DEADLINE_S),
        rows=tuple(_row(window, everything, calls) for window in windows),
    )


def _config(folder: Path) -> Path:
    """Write the configuration: that of the examples, with the ledger's tools in the place of theirs."""
    config = yaml.safe_load((REPOSITORY / "deploy" / "busbar.yaml").read_text(encoding="utf-8"))
    config["servers"][SERVER]["tools"] = {DECLARED: {"idempotent": True}}
    path = folder / "busbar.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def _servers(folder: Path, ledger: Path) -> Path:
    """Write the compose file that puts ledger servers in the place of the examples."""
    ledger_server = {
        "entrypoint": ["python", "-m", "tests.support.ledger_server", "--ledger", "/ledger/calls.jsonl"],
        "environment": {"PYTHONPATH": "/srv"},
        "volumes": [f"{REPOSITORY}/tests:/srv/tests:ro", f"{ledger}:/ledger"],
    }
    ports = {"products-1-0-0": "8002", "products-1-1-0": "8003"}
    services = {
        name: {**ledger_server, "command": ["--host", "0.0.0.0", "--port", port]} for name, port in ports.items()
    }
    path = folder / "compose.ledger.yml"
    path.write_text(yaml.safe_dump({"services": services}))
    return path


def _row(window: Window, everything: Iterable[RecordLine], calls: Iterable[LedgerLine]) -> str:
    """Return the line of the table for what was sent during a step."""
    sent = {line.id for line in everything if isinstance(line, Sent) and window.began_at <= line.at < window.ended_at}
    of_step = account(calls, [line for line in everything if line.id in sent], DEADLINE_S)
    refused = _refused(of_step)
    seconds = window.ended_at - window.began_at
    return (
        f"| {window.step} | {seconds:.0f} | {of_step.sent:,} | {of_step.answered:,} | {refused} | {len(of_step.lost)} "
        f"| {of_step.p50_ms:.0f} | {of_step.p99_ms:.0f} |"
    )


def _refused(of: Account) -> str:
    return ", ".join(f"{code} {count}" for code, count in sorted(of.refused.items())) or "0"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.containers.rolling", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("--rate", type=float, default=50, help="queries a second (default: %(default)s)")
    parser.add_argument("--pause-s", type=float, default=10, help="after each change (default: %(default)s)")
    parser.add_argument("--step-s", type=float, default=10, help="of each step of the rollout (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="busbar-rolling-") as folder:
        outcome = anyio.run(
            partial(run, Path(folder), rate=options.rate, pause_s=options.pause_s, step_s=options.step_s)
        )
    header = "| while | s | queries | answered | refused | lost | p50 ms | p99 ms |\n|---|--:|--:|--:|---|--:|--:|--:|"
    refused = _refused(outcome.total)
    print(header, *outcome.rows, sep="\n")  # noqa: T201
    print(  # noqa: T201
        f"\n{outcome.total.sent:,} queries, {outcome.share_answered:.3%} answered, refused: {refused}, "
        f"lost: {len(outcome.total.lost)}, run twice: {len(outcome.undeclared.repeated)}"
    )
    for wrong in outcome.wrong():
        _say(f"    WRONG {wrong}")
    return 1 if outcome.wrong() else 0


if __name__ == "__main__":
    sys.exit(main())
