"""A Prometheus of a test: our configuration with shorter intervals, and what its HTTP API says."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.monitoring.rule_files import MONITORING, RULE_FILES
from tests.support.ports import free_port
from tests.support.processes import running, wait_ready

START_S = 30.0


@dataclass(frozen=True, slots=True)
class Series:
    """The points of one line: moments in seconds since 1970, and values."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(value for _, value in self.points)


class Prometheus:
    """A running Prometheus."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        """Made by `prometheus()`."""
        self._client = client

    async def holds(self, expression: str) -> bool:
        """Whether the expression has a result now."""
        return bool((await self._ask("query", query=expression))["result"])

    async def over(self, expression: str, start: float, end: float, *, step_s: float = 1.0) -> list[Series]:
        """Return the expression's series between two moments, without points that are no numbers."""
        found = await self._ask("query_range", query=expression, start=str(start), end=str(end), step=str(step_s))
        lines = [Series(one["metric"], _numbers(one["values"])) for one in found["result"]]
        return [line for line in lines if line.points]

    async def exemplars(self, expression: str, start: float, end: float) -> list[dict[str, Any]]:
        """Return the exemplars of the metrics in the expression."""
        found: list[dict[str, Any]] = await self._ask(
            "query_exemplars", query=expression, start=str(start), end=str(end)
        )
        return [exemplar for series in found for exemplar in series["exemplars"]]

    async def own_metrics(self) -> str:
        """Return what it tells of itself."""
        return (await self._client.get("/metrics")).raise_for_status().text

    async def _ask(self, what: str, **parameters: str) -> Any:
        response = await self._client.get(f"/api/v1/{what}", params=parameters)
        assert response.status_code == 200, (parameters, response.text)
        return response.json()["data"]


@asynccontextmanager
async def prometheus(folder: Path, targets: Path, *, interval_s: int = 1) -> AsyncIterator[Prometheus]:
    """Run Prometheus on our configuration, which differs in the intervals, and in where it finds targets.

    Args:
        folder: for its configuration and its data.
        targets: the file that `busbar up` writes.
        interval_s: between two scrapes, and between two evaluations of the rules.
    """
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(json.dumps(_shortened(targets, port, interval_s)))
    argv = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--storage.tsdb.retention.time=30d",
        "--enable-feature=exemplar-storage",
    ]
    url = f"http://127.0.0.1:{port}"
    async with running(argv) as process:
        await wait_ready(process, f"{url}/-/ready", timeout_s=START_S)
        async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
            yield Prometheus(client)


def _shortened(targets: Path, port: int, interval_s: int) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    interval = f"{interval_s}s"
    config["global"] = {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
    config["rule_files"] = list(map(str, RULE_FILES))
    del config["alerting"]
    ours, itself = config["scrape_configs"]
    del ours["dns_sd_configs"]
    ours["file_sd_configs"] = [{"files": [str(targets)]}]
    itself["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    return config


def _numbers(points: list[tuple[float, str]]) -> tuple[tuple[float, float], ...]:
    return tuple((moment, float(value)) for moment, value in points if value != "NaN")
