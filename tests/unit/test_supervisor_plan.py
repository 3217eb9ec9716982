"""Which services a run has, and what is told about it."""

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from bus_schemas.workers import ServerFault
from services.runtime.config.connections import load_config
from services.runtime.config.document import read_document
from services.runtime.config.policy import Policy
from services.supervisor.environments import service_environment
from services.supervisor.pinning import pinned
from services.supervisor.plan import base_url, plan_services
from services.supervisor.ports import Ports
from services.supervisor.readiness import CONNECTED, STARTING, WorkerSight, outlook
from services.supervisor.settings import SupervisorSettings
from services.supervisor.welcome import sample_query

_PORTS = Ports(orchestrators=(8080, 8083), health=8081, admin=8082, nats=4222, redis=6379)
_POLICY = Policy.model_validate({"servers": {"a": {"version": "1.2.0"}, "b": {}}})


def test_every_server_has_as_many_workers_as_asked_for_and_every_service_its_port() -> None:
    settings = SupervisorSettings(workers=2, orchestrators=2)
    plan = plan_services(settings, _POLICY, _PORTS, keys_file="/k", redis_url="redis://r", worker_ports=count(9000))
    assert {service.name: service.url for service in plan} == {
        "orchestrator-1": "http://127.0.0.1:8080",
        "orchestrator-2": "http://127.0.0.1:8083",
        "worker-a-1": "http://127.0.0.1:9000",
        "worker-a-2": "http://127.0.0.1:9001",
        "worker-b-1": "http://127.0.0.1:9002",
        "worker-b-2": "http://127.0.0.1:9003",
        "health": "http://127.0.0.1:8081",
        "admin": "http://127.0.0.1:8082",
    }


def test_only_the_http_services_listen_on_the_host() -> None:
    settings = SupervisorSettings(host="0.0.0.0")
    plan = plan_services(settings, _POLICY, _PORTS, keys_file="/k", redis_url="redis://r", worker_ports=count(9000))
    assert {service.variables.get("BUSBAR_HOST") for service in plan if service.server is None} == {"0.0.0.0"}
    assert {service.variables.get("BUSBAR_WORKER_HOST") for service in plan.workers} == {"127.0.0.1"}


def test_the_admin_service_knows_that_there_is_a_supervisor() -> None:
    plan = plan_services(
        SupervisorSettings(), _POLICY, _PORTS, keys_file="/k", redis_url="redis://r", worker_ports=count(9000)
    )
    environment = service_environment(plan.admin, {})
    assert environment["BUSBAR_HAS_SUPERVISOR"] == "true"


def test_the_store_is_told_to_all_but_the_workers_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUSBAR_REDIS_URL", "redis://operators")
    monkeypatch.setenv("BUSBAR_REDIS_URL_FILE", "/operators")
    plan = plan_services(
        SupervisorSettings(), _POLICY, _PORTS, keys_file="/k", redis_url="redis://r",
        worker_ports=count(9000),
    )  # fmt: skip
    told = {
        service.name: {
            name: value for name, value in service_environment(service, {}).items() if name.startswith("BUSBAR_REDIS")
        }
        for service in plan
    }
    url = {"BUSBAR_REDIS_URL": "redis://r"}
    assert told == {
        "orchestrator-1": url,
        "orchestrator-2": url,
        "worker-a-1": {},
        "worker-b-1": {},
        "health": url,
        "admin": url,
    }
    assert "redis://r" not in repr(plan)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("fe80::1", "http://[fe80::1]:80"),
        ("gateway.example", "http://gateway.example:80"),
    ],
)
def test_a_url_is_one_that_can_be_reached(host: str, url: str) -> None:
    assert base_url(host, 80) == url


def _pin(folder: Path, text: str) -> dict[str, Any]:
    path = folder / "busbar.yaml"
    path.write_text(text)
    path.chmod(0o600)
    servers: Any = pinned(read_document(path), load_config(path).connections)["servers"]
    return dict(servers)


def test_workers_of_a_server_that_we_start_find_only_its_url(tmp_path: Path) -> None:
    servers = _pin(
        tmp_path,
        "servers: {a: {command: [x, '1'], env: {E: v}, cwd: /, url: 'http://127.0.0.1:1/mcp', headers: {k: '${T:-t}'},"
        " priority: 7}}",
    )
    assert servers == {"a": {"priority": 7, "url": "http://127.0.0.1:1/mcp", "headers": {"k": "${T:-t}"}}}


def test_a_command_runs_in_the_folder_of_the_operators_file(tmp_path: Path) -> None:
    folder = tmp_path / "${odd}"
    folder.mkdir()
    servers = _pin(folder, "servers: {a: {command: [x]}, b: {command: [x], cwd: sub}}")
    path = tmp_path / "workers.json"
    path.write_text(json.dumps({"servers": servers}))
    path.chmod(0o600)
    connections = load_config(path).connections
    assert {name: connection.cwd for name, connection in connections.items()} == {"a": folder, "b": folder / "sub"}


def test_a_disabled_server_stays_known_as_an_alternate(tmp_path: Path) -> None:
    servers = _pin(
        tmp_path, "servers: {a: {command: [x], alternates: [b]}, b: {command: ['${UNSET}'], disabled: true}}"
    )
    assert servers["b"] == {"disabled": True}


def _sight(fault: ServerFault | None = None, *, early: bool = False) -> WorkerSight:
    return WorkerSight("a", fault, was_asked_too_early=early)


@pytest.mark.parametrize(
    ("connected", "sights", "status"),
    [
        ({"a"}, [_sight(), _sight(ServerFault.PROCESS_EXITED)], CONNECTED),
        (set(), [_sight(), _sight(ServerFault.PROCESS_EXITED)], STARTING),
        (set(), [_sight(ServerFault.PROCESS_EXITED)], "Process exited"),
        (set(), [_sight(ServerFault.CONNECTION_REFUSED)], "Connection refused"),
        (set(), [_sight(ServerFault.CONNECTION_REFUSED, early=True)], STARTING),
        (set(), [_sight(ServerFault.PROTOCOL_ERROR, early=True)], "Protocol error"),
    ],
)
def test_a_server_is_settled_when_it_is_connected_or_all_its_workers_have_failed(
    connected: set[str], sights: list[WorkerSight], status: str
) -> None:
    assert outlook(["a"], frozenset(connected), sights) == {"a": status}


def test_the_sample_is_the_examples_where_that_is_served() -> None:
    tools = [_tool("a", "b"), _tool("product_metadata_mcp", "resolve_product")]
    assert sample_query(tools) == {
        "server": "product_metadata_mcp",
        "tool": "resolve_product",
        "arguments": {"alias": "abracadabra"},
    }


def test_the_sample_is_the_first_tool_elsewhere_and_none_without_tools() -> None:
    assert sample_query([_tool("a", "b"), _tool("a", "c")]) == {"server": "a", "tool": "b", "arguments": {}}
    assert sample_query([]) is None


def _tool(server: str, name: str) -> dict[str, Any]:
    return {"server": server, "version": "1.0.0", "tool": {"name": name}}
