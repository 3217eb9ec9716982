"""Asks for /health/mcp from a process of its own, and tells apart what the service and what the machine took.

As a program it asks, and prints when each answer was asked for and when it had come.
"""

import argparse
import contextlib
import http.client
import json
import statistics
import time
from typing import Final
from urllib.parse import urlsplit

from tests.support.account import percentile
from tests.support.pauses import Span
from tests.support.processes import ProcessDiedError, python_process

P99_MS: Final = 20.0
LONGEST_MS: Final = 100.0
_LONGEST_RUN_S: Final = 600.0


def table_row(name: str, answers: list[Span], pauses: list[Span]) -> tuple[str, bool]:
    """Return the line of the table on these answers, and whether they are good."""
    taken = sorted(milliseconds(one) for one in answers)
    own = [milliseconds(one) for one in answers if not any(one[0] < pause[1] and pause[0] < one[1] for pause in pauses)]
    p99 = percentile(taken, 99)
    cells = [f"{value:.1f}" for value in (statistics.median(taken), p99, taken[-1], max(own))]
    is_good = p99 < P99_MS and max(own) <= LONGEST_MS
    return "| " + " | ".join([name, f"{len(taken):,}", *cells]) + " |", is_good


def milliseconds(span: Span) -> float:
    return (span[1] - span[0]) * 1000


def ask(url: str, *, requests: int, rate_per_s: float) -> list[Span]:
    """Ask so often over one connection, at that rate or, if it is 0, one after another."""
    answers = []
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    with contextlib.closing(connection):
        next_at = time.monotonic()
        for _ in range(requests):
            began = time.monotonic()
            connection.request("GET", "/health/mcp")
            connection.getresponse().read()
            answers.append((began, time.monotonic()))
            if rate_per_s:
                next_at += 1 / rate_per_s
                time.sleep(max(0.0, next_at - time.monotonic()))
    return answers


async def asked(url: str, *, requests: int, rate_per_s: float = 0.0) -> list[Span]:
    """Let a process of its own ask: ours has other things to do."""
    options = [f"--url={url}", f"--requests={requests}", f"--rate={rate_per_s}"]
    async with python_process("tests.bench.health_answers", *options) as process:
        if await process.wait(timeout_s=_LONGEST_RUN_S) != 0:
            raise ProcessDiedError(process.stderr())
        return [(began, ended) for began, ended in json.loads(process.stdout())]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="of a health service")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=0.0, help="a second; 0: one after another")
    options = parser.parse_args()
    print(json.dumps(ask(options.url, requests=options.requests, rate_per_s=options.rate)))
