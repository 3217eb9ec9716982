"""How the system does with 100, 200 and 1,000 callers at once: `python -m tests.bench.concurrency`.

Starts `busbar up` with two orchestrators and three workers of 400 slots, each with an MCP server of its own over stdio
that writes every call down before its effect. A driver in a process of its own keeps so many queries in flight. The
ledger and the driver's record are joined: nothing may be lost or run twice. Prints a Markdown table.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

import psutil

from tests.support.account import read_account
from tests.support.load_process import load_process
from tests.support.processes import REPOSITORY, running

CALLERS = (100, 200, 1000)
WAITS_MS = (0, 1000)
LONGEST_RUN_S = 120


async def main() -> int:
    print("| callers | the tool takes | queries | answered | lost | run twice | per second | p50 | p99 |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        return await _measure(Path(folder))


async def _measure(folder: Path) -> int:
    ledger = folder / "ledger"
    config = folder / "busbar.json"
    server = {
        "command": ["python", "-m", "tests.support.ledger_server", "--ledger", str(ledger)],
        "cwd": str(REPOSITORY),
        "max_in_flight": 400,
    }
    config.write_text(json.dumps({"servers": {"ledger": server}}))
    ports = [f"--{name}-port=0" for name in ("orchestrator", "health", "admin", "nats", "redis")]
    command = [sys.executable, "-m", "services.cli", "up", "--json", f"--config={config}", f"--state-dir={folder}/up"]
    faults = 0
    async with running([*command, *ports, "--orchestrators=2", "--workers=3"]) as up:
        while not up.stdout().endswith("\n"):
            await asyncio.sleep(0.05)
        system = json.loads(up.stdout())
        for wait_ms in WAITS_MS:
            for callers in CALLERS:
                record = folder / f"record-{callers}-{wait_ms}"
                async with load_process(
                    record,
                    server="ledger",
                    urls=system["orchestrators"],
                    key=system["keys"]["query"],
                    concurrency=callers,
                    total=callers * 3 if wait_ms else 5000,
                    ms=wait_ms,
                ) as load:
                    summary = await load.finished(timeout_s=LONGEST_RUN_S)
                account = read_account(ledger, record, deadline_s=30)
                faults += len(account.lost) + len(account.repeated)
                print(
                    f"| {callers:,} | {wait_ms:,} ms | {account.sent:,} | {account.answered:,} | {len(account.lost)} "
                    f"| {len(account.repeated)} | {summary.rate_per_s:,.0f} | {summary.p50_ms:,.0f} ms "
                    f"| {summary.p99_ms:,.0f} ms |",
                    flush=True,
                )
        print("\nMemory at the end, MB:", _memory(system["pids"]))
    return 1 if faults else 0


def _memory(pids: dict[str, int]) -> str:
    sizes = {name: psutil.Process(pid).memory_info().rss / 2**20 for name, pid in pids.items()}
    return ", ".join(f"{name} {size:.0f}" for name, size in sizes.items())


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
