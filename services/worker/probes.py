"""The worker's own HTTP port, where it has one: a worker without does not import FastAPI, half of its start."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from bus_schemas.workers import WorkerState
from services.runtime.http import create_service
from services.runtime.lifecycle import Lifecycle
from services.runtime.listening import bind
from services.runtime.serving import serve
from services.worker.app import Worker


async def serve_probes(worker: Worker, life: Lifecycle, port: int) -> None:
    """Serve /livez, /readyz and /metrics until the lifecycle stops; the worker leaves meanwhile.

    Raises:
        PortInUseError: another process listens there.
    """
    with bind(worker.settings.worker_host, port) as listener:
        await serve(_create_app(worker, life), listener, life, leave=worker.leave, drain_s=1)


def _create_app(worker: Worker, life: Lifecycle) -> FastAPI:

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {"readiness": lambda: _readiness(worker)}

    return create_service(
        "Busbar worker", lifespan=lifespan, life=life, registry=worker.registry, names=worker.settings.names
    )


def _readiness(worker: Worker) -> str | None:
    state = worker.announcement.state
    if state is WorkerState.SERVING:
        return None
    fault = worker.announcement.fault
    return state.value if fault is None else fault.value
