"""Which services there shall be, and how each is started."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from services.runtime.config.policy import Policy
from services.supervisor.managed import Stage
from services.supervisor.ports import LOOPBACK, Ports
from services.supervisor.settings import SupervisorSettings

_IMPORTED_LATE: Final = {
    "services.worker": ("services.worker.probes", "services.worker.mcp.http", "services.worker.mcp.sse"),
}
"""What a service imports where it needs it, and under a supervisor always does."""


@dataclass(frozen=True, slots=True)
class Service:
    """One process of ours."""

    name: str
    module: str
    stage: Stage
    url: str
    """Where its /readyz answers."""
    variables: Mapping[str, str] = field(repr=False)
    """What it gets in its environment beside what all of them get."""
    arguments: tuple[str, ...] = ()
    server: str | None = None
    """Of a worker: the server it stands in front of."""
    version: str = ""
    """Of a worker: of that server."""

    @property
    def imports(self) -> tuple[str, ...]:
        """What is imported before it is forked."""
        return (f"{self.module}.app", *_IMPORTED_LATE.get(self.module, ()))


@dataclass(frozen=True, slots=True)
class Plan:
    """The services of a run."""

    orchestrators: tuple[Service, ...]
    workers: tuple[Service, ...]
    health: Service
    admin: Service

    def __iter__(self) -> Iterator[Service]:
        yield from (*self.orchestrators, *self.workers, self.health, self.admin)


def plan_services(
    settings: SupervisorSettings,
    policy: Policy,
    ports: Ports,
    *,
    keys_file: str,
    redis_url: str,
    worker_ports: Iterator[int],
) -> Plan:
    """Return what shall run.

    Args:
        settings: how many, and where they listen.
        policy: the servers.
        ports: of orchestrators, health and admin.
        keys_file: for the services that let callers in.
        redis_url: for all but the workers.
        worker_ports: free ports for the workers' own probes.
    """

    def http_service(kind: str, name: str, port: int, stage: Stage, **more: str) -> Service:
        return Service(
            name=name,
            module=f"services.{kind}",
            stage=stage,
            url=base_url(settings.host, port),
            variables={
                "BUSBAR_HOST": settings.host,
                f"BUSBAR_{kind.upper()}_PORT": str(port),
                "BUSBAR_REDIS_URL": redis_url,
                **more,
            },
        )

    return Plan(
        orchestrators=tuple(
            http_service(
                "orchestrator", f"orchestrator-{number}", port, Stage.ORCHESTRATORS, BUSBAR_KEYS_FILE=keys_file
            )
            for number, port in enumerate(ports.orchestrators, start=1)
        ),
        workers=tuple(
            plan_worker(name, server.version, number, next(worker_ports))
            for name, server in policy.servers.items()
            for number in range(1, settings.workers + 1)
        ),
        health=http_service("health", "health", ports.health, Stage.ATTENDANTS),
        admin=http_service(
            "admin",
            "admin",
            ports.admin,
            Stage.ATTENDANTS,
            BUSBAR_KEYS_FILE=keys_file,
            BUSBAR_HAS_SUPERVISOR="true",
        ),
    )


def plan_worker(server: str, version: str, number: int, port: int) -> Service:
    """Return a worker. Which configuration it reads, and its instance, are settled at each of its starts.

    Args:
        server: the server that it stands in front of.
        version: of that server.
        number: tells it from the others of the server.
        port: for its own probes.
    """
    return Service(
        name=f"worker-{server}-{number}",
        module="services.worker",
        stage=Stage.WORKERS,
        url=base_url(LOOPBACK, port),
        variables={
            "BUSBAR_CONFIG_IS_PINNED": "true",
            "BUSBAR_WORKER_HOST": LOOPBACK,
            "BUSBAR_METRICS_PORT": str(port),
        },
        # A server's name may begin with a dash.
        arguments=("--version", version, "--", server),
        server=server,
        version=version,
    )


def base_url(host: str, port: int) -> str:
    """Return the URL under which this machine reaches a service that listens on `host`."""
    reachable = {"0.0.0.0": LOOPBACK, "": LOOPBACK, "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
