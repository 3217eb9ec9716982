"""Builds the supervisor and its processes: everything in the order in which it opens; it closes in reverse."""

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from services.runtime.config.connections import Connection, load_config
from services.runtime.config.document import read_document
from services.runtime.config.file import config_path
from services.runtime.processes import child_environment
from services.runtime.racing import unless
from services.supervisor.children import StartChild, guarded_child, lifeline, service_child
from services.supervisor.embedded import Embedded, embedded_nats, embedded_valkey
from services.supervisor.environments import service_environment
from services.supervisor.managed import ManagedProcess, Stage
from services.supervisor.pinning import pinned
from services.supervisor.plan import Plan, Service, plan_services
from services.supervisor.ports import LOOPBACK, Ports, choose_ports, free_port
from services.supervisor.probes import get
from services.supervisor.readiness import ReadinessWatch
from services.supervisor.run_keys import RunKeys, run_keys
from services.supervisor.settings import SupervisorSettings
from services.supervisor.signals import StopOrder
from services.supervisor.state_folder import StateFolder, claimed
from services.supervisor.supervisor import Supervisor
from services.supervisor.targets import scrape_targets
from services.supervisor.welcome import sample_query, show_welcome

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Carriers:
    """The bus and the store: where they are, and those that are ours."""

    nats_url: str
    redis_url: str
    embedded: tuple[Embedded, ...]


async def live(settings: SupervisorSettings) -> int:
    """Run the system until a signal; return the exit status: 0 drained, 1 something had to be killed.

    Raises:
        UpError: it cannot be started.
        ConfigError: the configuration cannot be used.
        KeysFileError: the keys file cannot be used.
    """
    supervisor = Supervisor()
    stop = StopOrder(repeated=lambda: _say(f"Still finishing: {', '.join(supervisor.pids())}. Nothing is lost."))
    stop.obey_signals()
    with claimed(settings.state_dir) as folder:
        config_file = config_path(settings.config)
        policy, connections = load_config(config_file)
        worker_config = json.dumps(pinned(read_document(config_file), connections))
        ports = choose_ports(settings)
        carriers = _carriers(settings, folder, ports)
        keys_file = (settings.keys_file or folder.path / "keys.jsonl").absolute()
        plan = plan_services(
            settings,
            policy,
            ports,
            keys_file=str(keys_file),
            redis_url=carriers.redis_url,
            worker_config=str(folder.write("workers.json", worker_config)),
            worker_ports=_free_ports(ports),
        )
        with run_keys(keys_file) as keys, lifeline() as line:
            variables = {
                "BUSBAR_CONFIG": str(config_file),
                "BUSBAR_NATS_URL": carriers.nats_url,
                "BUSBAR_STATE_DIR": str(folder.path),
            }
            run = _Run(supervisor, folder, plan, carriers, keys)
            try:
                async with supervisor:
                    run.start(connections, variables, line)
                    if await unless(stop.given, run.welcome(list(policy.servers), print_json=settings.print_json)):
                        await stop.given.wait()
                    _say("\nFinishing what is in flight …")
                    killed = await supervisor.drain()
            finally:
                folder.remove_state()
    if killed:
        _say(f"busbar up: did not end in time and had to be killed: {', '.join(killed)}")
    return 1 if killed else 0


class _Run:
    """What is started, and what is told about it."""

    def __init__(
        self, supervisor: Supervisor, folder: StateFolder, plan: Plan, carriers: Carriers, keys: RunKeys
    ) -> None:
        self._supervisor = supervisor
        self._folder = folder
        self._plan = plan
        self._carriers = carriers
        self._keys = keys
        self._services: dict[str, ManagedProcess] = {}
        self._needed: dict[str, ManagedProcess] = {}
        self._server_processes: dict[str, ManagedProcess] = {}

    def start(self, connections: Mapping[str, Connection], variables: Mapping[str, str], line: int) -> None:
        """Start everything at once: services wait for the bus, and sessions for their server."""
        for embedded in self._carriers.embedded:
            self._folder.write(embedded.config_path.name, embedded.config)
            self._needed[embedded.name] = self._add(
                embedded.name, _guarded(embedded.command, self._folder.logs / f"{embedded.name}.log"), Stage.CARRIERS
            )
        for service in self._plan:
            process = self._add(service.name, _service(service, variables, line, self._folder.logs), service.stage)
            self._services[service.name] = process
            if service.server is None:
                self._needed[service.name] = process
        for server, connection in connections.items():
            if connection.url is not None and connection.command:
                self._server_processes[server] = self._add(
                    f"server-{server}", _server(connection, self._folder.servers / f"{server}.log"), Stage.ATTENDANTS
                )

    async def welcome(self, servers: list[str], *, print_json: bool) -> bool:
        """Wait until the system is ready and say so; return True.

        Raises:
            NotReadyError: it does not come up.
        """
        watch = ReadinessWatch(
            self._plan,
            self._needed,
            servers,
            query_key=self._keys.query,
            server_processes=self._server_processes,
        )
        seen = await watch.ready()
        if print_json:
            _print(lambda: sys.stdout.write(json.dumps(self.state()) + "\n"))
            return True
        tools = await get(self._plan.orchestrators[0].url, "/v1/tools?limit=1000", key=self._keys.query)
        sample = sample_query(tools.body["tools"]) if tools is not None and tools.status == 200 else None
        _print(lambda: show_welcome(Console(highlight=False), self.state(), seen, sample))
        return True

    def state(self) -> dict[str, Any]:
        """Return the object that `--json` prints."""
        return {
            "orchestrators": [service.url for service in self._plan.orchestrators],
            "health": self._plan.health.url,
            "admin": self._plan.admin.url,
            "nats": self._carriers.nats_url,
            "redis": self._carriers.redis_url,
            "keys": {"query": self._keys.query, "admin": self._keys.admin},
            "pids": self._supervisor.pids(),
        }

    def _add(self, name: str, start: StartChild, stage: Stage) -> ManagedProcess:
        process = ManagedProcess(name, start, stage=stage, changed=self._write_files)
        self._supervisor.add(process)
        return process

    def _write_files(self) -> None:
        scraped = [service for service in self._plan if not self._has_left(service)]
        try:
            self._folder.write_state(self.state())
            self._folder.write_targets(scrape_targets(scraped))
        except OSError as error:  # a full disk must not stop the system
            log.warning("state file cannot be written", extra={"cause": error.strerror})

    def _has_left(self, service: Service) -> bool:
        process = self._services.get(service.name)
        return process is not None and process.has_ended


def _carriers(settings: SupervisorSettings, folder: StateFolder, ports: Ports) -> Carriers:
    nats = None if ports.nats is None else embedded_nats(folder.path, ports.nats)
    redis = None if ports.redis is None else embedded_valkey(folder.path, folder.valkey, ports.redis)
    return Carriers(
        nats_url=settings.external_nats_url or (nats.url if nats else ""),
        redis_url=settings.external_redis_url or (redis.url if redis else ""),
        embedded=tuple(embedded for embedded in (nats, redis) if embedded is not None),
    )


def _free_ports(ports: Ports) -> Iterator[int]:
    chosen = (*ports.orchestrators, ports.health, ports.admin, ports.nats, ports.redis)
    taken = {port for port in chosen if port is not None}
    while True:
        yield free_port(LOOPBACK, taken)


def _service(service: Service, variables: Mapping[str, str], line: int, logs: Path) -> StartChild:
    environment = service_environment(service, variables)
    return lambda: service_child(
        service.command, environment=environment, lifeline=line, log_path=logs / f"{service.name}.log"
    )


def _guarded(command: tuple[str, ...], log_path: Path) -> StartChild:
    return lambda: guarded_child(command, log_path=log_path)


def _server(connection: Connection, log_path: Path) -> StartChild:
    environment = child_environment(connection.env)
    return lambda: guarded_child(connection.command, cwd=connection.cwd, environment=environment, log_path=log_path)


def _say(text: str) -> None:
    _print(lambda: Console(stderr=True, highlight=False).print(Text(text), soft_wrap=True))


def _print(write: Callable[[], object]) -> None:
    # The terminal may be gone, or the reader of a pipe; rich leaves by SystemExit then. The system goes on.
    with suppress(OSError, SystemExit):
        write()
        sys.stdout.flush()
