"""Prometheus finds every replica by name, as where the services run in containers; promtool looks for it.

The network and the file that names its name server are a namespace's (`unshare`), in which port 53 is free.
"""

import json
import sys
from pathlib import Path

import pytest

from tests.monitoring.rule_files import MONITORING
from tests.support.processes import running

pytestmark = pytest.mark.anyio

CONFIG = MONITORING / "prometheus.yml"

LOOK = """
ip link set lo up
mount --bind "$2" /etc/resolv.conf
"$1" -m tests.monitoring.name_server "$3" > "$4" &
trap "kill $!" EXIT
until grep -q ready "$4"; do sleep 0.05; done
promtool check service-discovery --timeout=3s "$5" busbar
"""
PORTS = {"orchestrator": 8080, "health": 8081, "admin": 8082, "worker": 9464}


@pytest.mark.parametrize(
    "replicas",
    [
        {"orchestrator": 2, "health": 1, "admin": 1, "worker": 3},
        {"orchestrator": 3, "health": 2, "worker": 1},  # more, fewer, and none
    ],
    ids=["before", "after"],
)
async def test_every_address_of_every_service_is_a_target_with_its_service(
    tmp_path: Path, replicas: dict[str, int]
) -> None:
    """Seen to fail with names that do not end with a dot: the targets had no service."""
    addresses = {
        service: [f"10.0.{number}.{one}" for one in range(count)]
        for number, (service, count) in enumerate(replicas.items())
    }
    found, asked = await look(tmp_path, addresses)
    assert found == {
        (f"{address}:{PORTS[service]}", service) for service in addresses for address in addresses[service]
    }
    assert asked == set(PORTS)


async def look(folder: Path, names: dict[str, list[str]]) -> tuple[set[tuple[str, str]], set[str]]:
    """Return the targets with their services, and the names that were asked for."""
    resolver, known, asked = (folder / name for name in ("resolv.conf", "names.json", "asked.txt"))
    resolver.write_text("nameserver 127.0.0.1\nsearch example.test\n")
    known.write_text(json.dumps(names))
    script = ["sh", "-c", LOOK, "look", sys.executable, *map(str, (resolver, known, asked, CONFIG))]
    async with running(["unshare", "--map-root-user", "--mount", "--net", *script]) as process:
        assert await process.wait(timeout_s=60) == 0, process.stderr()
        targets = json.loads(process.stdout())
    asked_for = set(asked.read_text().splitlines()) - {"ready"}
    return {(one["labels"]["__address__"], one["labels"]["service"]) for one in targets}, asked_for
