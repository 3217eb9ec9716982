"""The file that `busbar up` writes for Prometheus."""

import json
from itertools import count
from pathlib import Path

from services.runtime.config.policy import Policy
from services.supervisor.plan import Plan, plan_services
from services.supervisor.ports import Ports
from services.supervisor.settings import SupervisorSettings
from services.supervisor.state_folder import claimed
from services.supervisor.targets import FILE_NAME, scrape_targets

_PORTS = Ports(orchestrators=(8080, 8083), health=8081, admin=8082, nats=4222, redis=6379)
_POLICY = Policy.model_validate({"servers": {"a": {"version": "1.2.0"}}})


def plan(host: str = "127.0.0.1") -> Plan:
    return plan_services(
        SupervisorSettings(host=host, workers=2, orchestrators=2),
        _POLICY,
        _PORTS,
        keys_file="/k",
        redis_url="redis://:password@r",
        worker_ports=count(9000),
    )


def test_every_process_is_listed_under_the_name_it_keeps_over_restarts() -> None:
    assert {group["labels"]["instance"]: group for group in json.loads(scrape_targets(plan()))} == {
        "orchestrator-1": _group("127.0.0.1:8080", "orchestrator", instance="orchestrator-1"),
        "orchestrator-2": _group("127.0.0.1:8083", "orchestrator", instance="orchestrator-2"),
        "worker-a-1": _group("127.0.0.1:9000", "worker", instance="worker-a-1", mcp_server="a", version="1.2.0"),
        "worker-a-2": _group("127.0.0.1:9001", "worker", instance="worker-a-2", mcp_server="a", version="1.2.0"),
        "health": _group("127.0.0.1:8081", "health", instance="health"),
        "admin": _group("127.0.0.1:8082", "admin", instance="admin"),
    }


def test_an_address_of_ipv6_stays_in_brackets() -> None:
    (orchestrator, *_) = json.loads(scrape_targets(plan("::")))
    assert orchestrator["targets"] == ["[::1]:8080"]


def test_the_file_is_written_anew_only_when_it_says_something_else(tmp_path: Path) -> None:
    with claimed(tmp_path) as folder:
        path = tmp_path / FILE_NAME
        folder.write_targets(scrape_targets(plan()))
        first = path.stat().st_ino
        folder.write_targets(scrape_targets(plan()))
        assert path.stat().st_ino == first
        folder.write_targets(scrape_targets(plan().orchestrators))
        assert len(json.loads(path.read_text())) == 2
        folder.remove_state()
        assert not path.exists()


def _group(address: str, service: str, **labels: str) -> dict[str, object]:
    return {"targets": [address], "labels": {"job": "busbar", "service": service, **labels}}
