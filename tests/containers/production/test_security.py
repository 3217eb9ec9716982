"""Secure by default: what a container that was taken over gets at, and what is seen from outside."""

import json
from pathlib import Path
from typing import Any

from tests.containers.deployment import Deployment

HERE = Path(__file__).parent


def test_a_worker_that_was_taken_over_gets_at_nothing_but_its_own_servers_calls(production: Deployment) -> None:
    """Foreign subjects, others' inboxes, listening in and forged events are refused."""
    assert production.run_inside("worker-database", HERE / "intruder.py") == {
        "spoke": [],
        "heard": [],
        "may do its own work": True,
        "was let in without a key": False,
        "reached": ["Prometheus"],  # which comes to fetch its metrics, and only ever tells such
        "wrote to its image": False,
        "is root": False,
    }


def test_neither_workers_nor_servers_nor_the_store_have_a_way_out(production: Deployment) -> None:
    for service in ("worker-database", "worker-products-1-0-0", "products-1-0-0", "valkey", "orchestrator", "health"):
        assert production.ways_out(service) == [], service


def test_a_service_that_was_taken_over_cannot_administer_the_store(production: Deployment) -> None:
    assert production.run_inside("orchestrator", HERE / "store_intruder.py") == {
        "obeyed": [],
        "may do its own work": True,
        "was let in without a password": False,
    }


def test_the_load_balancer_leads_neither_to_metrics_nor_to_admin(production: Deployment) -> None:
    for path in ("/metrics", "/livez", "/readyz", "/", "/console", "/v1/../metrics", "/%6detrics"):
        assert production.http("GET", path).status_code == 404, path
    for method, path in (("DELETE", "/v1/cache"), ("GET", "/v1/workers"), ("POST", "/v1/config/reload")):
        assert production.http(method, path, key=production.admin_key).status_code == 404, path


def test_only_the_load_balancer_listens_beyond_this_machine(production: Deployment) -> None:
    """Operators' and callers' listeners are on loopback, until somebody says otherwise."""
    listeners = {
        (container["Config"]["Labels"]["com.docker.compose.service"], binding["HostIp"])
        for container in production.containers()
        for bindings in (container["HostConfig"]["PortBindings"] or {}).values()
        for binding in bindings
    }
    assert {service for service, _ in listeners} == {"haproxy", "admin", "nats-1", "nats-2", "nats-3"}
    assert {address for service, address in listeners if service != "haproxy"} == {"127.0.0.1"}


def test_nothing_runs_as_root_and_nothing_may_become_it(production: Deployment) -> None:
    for container in production.containers():
        name, host = container["Name"], container["HostConfig"]
        uids = _uids(container["State"]["Pid"])
        assert uids, name
        assert 0 not in uids, name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert not host["Privileged"], name
        assert host["Memory"], name
        assert host["PidsLimit"], name


def test_no_secret_is_seen_by_who_may_look_at_containers(production: Deployment) -> None:
    """Nor in what they log. Seen to fail with a password in an environment."""
    seen = json.dumps(production.containers()) + production.compose("config") + production.compose("logs", "--no-color")
    assert [name for name, secret in production.secrets().items() if secret in seen] == []


def _uids(pid: int) -> set[int]:
    """Return the real, effective, saved and file-system user ids of a container's processes."""
    found: set[int] = set()
    for process in (pid, *_children(pid)):
        status = Path(f"/proc/{process}/status").read_text()
        found.update(map(int, next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]))
    return found


def _children(pid: int) -> list[int]:
    direct: list[Any] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [one for child in direct for one in (int(child), *_children(int(child)))]
