"""wrk, a Debian package, keeps callers busy on one way; what it saw, and what the queries cost."""

import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.components import SERVER, resident_mb, spent_s
from tests.bench.ways import Way

DRAIN_S: Final = 30
"""How long the last answers may take."""
_SCRIPT: Final = Path(__file__).with_suffix(".lua")


@dataclass(frozen=True, slots=True)
class Run:
    """What wrk saw, and what it cost."""

    sent: int
    """How many queries."""
    per_s: float
    p50_ms: float
    p99_ms: float
    errors: int
    """Of what was sent: what was not answered, or not with what was expected."""
    cpu_us: Mapping[str, float]
    """Processor time per query of each component, in microseconds."""
    rss_mb: Mapping[str, float]
    """Memory of each component at the end."""

    @property
    def gateway_us(self) -> float:
        """Processor time per query of what stands between callers and the server."""
        return sum(microseconds for name, microseconds in self.cpu_us.items() if name != SERVER)


def has_wrk() -> bool:
    """Whether it is installed here."""
    return shutil.which("wrk") is not None


def ask(way: Way, callers: int, seconds: float) -> Run:
    """Keep so many callers busy on one way for so many seconds; return when all that they asked is answered.

    Raises:
        AssertionError: wrk did not end as it should.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_preamble(way, seconds) + _SCRIPT.read_text())
        script.flush()
        before = spent_s(way.components)
        options = [f"-c{callers}", f"-d{int(seconds) + 2 + DRAIN_S}s", f"--timeout={DRAIN_S}s", "-s", script.name]
        told = _run(["wrk", "-t1", *options, way.url])
        after = spent_s(way.components)
    sent, right, elapsed_s, p50_us, p99_us = map(float, told.split())
    cpu_us = {name: 1e6 * (spent - before[name]) / max(1, sent) for name, spent in after.items()}
    return Run(
        sent=int(sent),
        per_s=right / elapsed_s if elapsed_s else 0.0,
        p50_ms=p50_us / 1000,
        p99_ms=p99_us / 1000,
        errors=int(sent - right),
        cpu_us=cpu_us,
        rss_mb=resident_mb(way.components),
    )


def _run(command: list[str]) -> str:
    """Return what the script told when it was done."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as wrk:
        assert wrk.stdout is not None
        said = []
        for line in wrk.stdout:
            said.append(line)
            if line == "over\n":  # wrk itself would wait for the end of its time
                wrk.send_signal(signal.SIGINT)
    told = [line.removeprefix("told ") for line in said if line.startswith("told ")]
    assert told, "".join(said)
    return told[0]


def _preamble(way: Way, seconds: float) -> str:
    headers = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(text)}" for name, text in way.headers.items()]
    return "\n".join(
        [
            'wrk.method = "POST"',
            f"wrk.body = [==[{way.body.decode()}]==]",
            *headers,
            f"EXPECTED = [==[{way.expected}]==]",
            f"SECONDS = {seconds}",
            "",
        ]
    )
