"""What Prometheus is told of a run: where each service's /metrics are, as a file for its `file_sd_configs`."""

import json
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from services.supervisor.plan import Service

FILE_NAME: Final = "prometheus-targets.json"
"""In the state folder."""

JOB: Final = "busbar"


def scrape_targets(services: Iterable[Service]) -> str:
    """Return the file's text: a group for each of `services`, with labels that stay the same over restarts.

    A service that is down for the moment belongs in it: only a target that is listed can be seen to be missing.
    """
    return json.dumps([_group(service) for service in services], indent=1) + "\n"


def _group(service: Service) -> dict[str, object]:
    labels = {"job": JOB, "instance": service.name, "service": service.module.rpartition(".")[2]}
    if service.server is not None:
        labels |= {"mcp_server": service.server, "version": service.version}
    return {"targets": [urlsplit(service.url).netloc], "labels": labels}
