"""Builds the supervisor and its processes: everything in the order in which it opens; it closes in reverse."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from services.runtime.config.file import config_path
from services.runtime.racing import unless
from services.supervisor.background import in_background
from services.supervisor.children import StartChild, lifeline
from services.supervisor.configuration import read_whole
from services.supervisor.crew import Crew
from services.supervisor.embedded import Embedded, embedded_nats, embedded_valkey
from services.supervisor.launching import Launcher
from services.supervisor.managed import ManagedProcess, Stage
from services.supervisor.nursery import open_nursery
from services.supervisor.pinning import PinnedFiles
from services.supervisor.plan import Plan, Service, plan_services
from services.supervisor.ports import LOOPBACK, Ports, choose_ports, free_port
from services.supervisor.probes import get
from services.supervisor.readiness import ReadinessWatch
from services.supervisor.reloading import Standing
from services.supervisor.run_keys import RunKeys, run_keys
from services.supervisor.settings import SupervisorSettings
from services.supervisor.signals import StopOrder
from services.supervisor.state_folder import StateFolder, claimed
from services.supervisor.steering import steer
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
        reading = read_whole(config_file)
        ports = choose_ports(settings)
        worker_ports = _free_ports(ports)
        carriers = _carriers(settings, folder, ports)
        keys_file = (settings.keys_file or folder.path / "keys.jsonl").absolute()
        plan = plan_services(
            settings,
            reading.policy,
            ports,
            keys_file=str(keys_file),
            redis_url=carriers.redis_url,
            worker_ports=worker_ports,
        )
        with (
            run_keys(keys_file) as keys,
            lifeline() as line,
            open_nursery(folder.logs / "cradle.log") as nursery,
        ):
            variables = {
                "BUSBAR_CONFIG": str(config_file),
                "BUSBAR_NATS_URL": carriers.nats_url,
                "BUSBAR_STATE_DIR": str(folder.path),
            }
            run = _Run(supervisor, Launcher(folder, variables, line, nursery), folder, plan, carriers, keys=keys)
            crew = Crew(supervisor, run.launcher, workers=settings.workers, ports=worker_ports, changed=run.write_files)
            try:
                async with supervisor:
                    standing = Standing(reading, PinnedFiles(folder))
                    run.start(crew, standing)
                    async with in_background() as background:
                        background.start(steer(crew, standing, config_file, background, nats_url=carriers.nats_url))
                        if await unless(stop.given, run.welcome(list(reading.policy.servers), settings)):
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
        self,
        supervisor: Supervisor,
        launcher: Launcher,
        folder: StateFolder,
        plan: Plan,
        carriers: Carriers,
        *,
        keys: RunKeys,
    ) -> None:
        self.launcher = launcher
        self._supervisor = supervisor
        self._folder = folder
        self._plan = plan
        self._carriers = carriers
        self._keys = keys
        self._crew: Crew | None = None
        self._services: dict[str, ManagedProcess] = {}
        self._needed: dict[str, ManagedProcess] = {}

    def start(self, crew: Crew, standing: Standing) -> None:
        """Start everything at once: services wait for the bus, and sessions for their server."""
        self._crew = crew
        for embedded in self._carriers.embedded:
            self._folder.write(embedded.config_path.name, embedded.config)
            start = self.launcher.carrier(embedded)
            self._needed[embedded.name] = self._add(embedded.name, start, Stage.CARRIERS)
        # Health first: it listens for a second before it is ready. Then workers, before those that look for them.
        self._start_service(self._plan.health)
        reading = standing.reading
        for server, policy in reading.policy.servers.items():
            workers = [service for service in self._plan.workers if service.server == server]
            crew.begin(server, policy.version, reading.connections[server], standing.path, workers)
        for service in (*self._plan.orchestrators, self._plan.admin):
            self._start_service(service)

    async def welcome(self, servers: list[str], settings: SupervisorSettings) -> bool:
        """Wait until the system is ready and say so; return True.

        Raises:
            NotReadyError: it does not come up.
        """
        watch = ReadinessWatch(
            self._plan,
            self._needed,
            servers,
            query_key=self._keys.query,
            server_processes={} if self._crew is None else self._crew.server_processes(),
        )
        seen = await watch.ready()
        if settings.print_json:
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

    def write_files(self) -> None:
        """Tell anew what runs: to the other commands, and to Prometheus."""
        scraped = [service for service in self._plan if service.server is None and not self._has_left(service)]
        scraped += [] if self._crew is None else self._crew.services()
        try:
            self._folder.write_state(self.state())
            self._folder.write_targets(scrape_targets(scraped))
        except OSError as error:  # a full disk must not stop the system
            log.warning("state file cannot be written", extra={"cause": error.strerror})

    def _start_service(self, service: Service) -> None:
        process = self._add(service.name, self.launcher.service(service), service.stage)
        self._services[service.name] = self._needed[service.name] = process

    def _add(self, name: str, start: StartChild, stage: Stage) -> ManagedProcess:
        process = ManagedProcess(name, start, stage=stage, changed=self.write_files)
        self._supervisor.add(process)
        return process

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


def _say(text: str) -> None:
    _print(lambda: Console(stderr=True, highlight=False).print(Text(text), soft_wrap=True))


def _print(write: Callable[[], object]) -> None:
    # The terminal may be gone, or the reader of a pipe; rich leaves by SystemExit then. The system goes on.
    with suppress(OSError, SystemExit):
        write()
        sys.stdout.flush()
