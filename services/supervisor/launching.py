"""How each process of a run is started: its environment, what it inherits, and where its output goes."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from services.runtime.config.connections import Connection
from services.runtime.lifecycle import new_instance_id
from services.runtime.processes import child_environment
from services.supervisor.children import Child, StartChild, guarded_child
from services.supervisor.embedded import Embedded
from services.supervisor.environments import service_environment
from services.supervisor.nursery import Birth, Nursery
from services.supervisor.plan import Service
from services.supervisor.state_folder import StateFolder


class Launcher:
    """Makes the functions that start processes once."""

    def __init__(self, folder: StateFolder, variables: Mapping[str, str], line: int, nursery: Nursery) -> None:
        """Take what all have in common.

        Args:
            folder: where logs go.
            variables: what each of our services finds in its environment.
            line: the lifeline that our services inherit.
            nursery: starts them.
        """
        self._folder = folder
        self._variables = variables
        self._line = line
        self._nursery = nursery

    def service(self, service: Service) -> StartChild:
        """Return what starts one of our services."""
        environment = service_environment(service, self._variables)
        return lambda: self._start(service, environment)

    def worker(self, service: Service, *, config: Callable[[], Path], note: Callable[[str], None]) -> StartChild:
        """Return what starts a worker.

        Args:
            service: the worker.
            config: which file it reads, asked at each start.
            note: is told the instance that the worker has from this start on.
        """
        environment = service_environment(service, self._variables)

        def start() -> AbstractAsyncContextManager[Child]:
            instance = new_instance_id()
            note(instance)
            return self._start(service, {**environment, "BUSBAR_CONFIG": str(config()), "BUSBAR_INSTANCE": instance})

        return start

    def carrier(self, embedded: Embedded) -> StartChild:
        """Return what starts our own NATS or Valkey."""
        environment = child_environment(embedded.variables)
        log_path = self._folder.logs / f"{embedded.name}.log"
        return lambda: guarded_child(embedded.command, environment=environment, log_path=log_path, may_interrupt=False)

    def server(self, name: str, connection: Connection) -> StartChild:
        """Return what starts the MCP server `name`."""
        environment = child_environment(connection.env)
        log_path = self._folder.servers / f"{name}.log"
        return lambda: guarded_child(connection.command, cwd=connection.cwd, environment=environment, log_path=log_path)

    def _start(self, service: Service, environment: Mapping[str, str]) -> AbstractAsyncContextManager[Child]:
        birth = Birth(
            name=service.name,
            module=service.module,
            arguments=service.arguments,
            imports=service.imports,
            environment=environment,
            lifeline=self._line,
            log_path=self._folder.logs / f"{service.name}.log",
        )
        return self._nursery.child(birth)
