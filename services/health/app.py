"""Builds the health service: everything in the order in which it opens; it closes in reverse."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from services.health.api import router
from services.health.monitor import HealthMonitor
from services.health.settings import HealthSettings
from services.runtime.bus import open_bus, open_inbox
from services.runtime.config.file import load_policy
from services.runtime.fleet import open_fleet
from services.runtime.http import create_service
from services.runtime.lifecycle import Lifecycle, new_instance_id
from services.runtime.metrics import new_registry


def create_app(settings: HealthSettings, life: Lifecycle) -> FastAPI:
    """Return the health service's app; nothing is opened before its lifespan."""
    policy = load_policy(settings.config)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        url, instance = settings.nats_url.get_secret_value(), new_instance_id()
        async with (
            life,
            open_bus(url, service="health", instance=instance, life=life) as bus,
            open_inbox(bus) as inbox,
            open_fleet(bus, inbox, life) as fleet,
        ):
            # Ready also while the bus is away: saying so is what this service is for.
            yield {"monitor": HealthMonitor(bus, fleet, policy), "readiness": lambda: None}

    app = create_service(
        "Busbar health",
        lifespan=lifespan,
        life=life,
        registry=new_registry(),
        hosts=(settings.host, *settings.allowed_hosts),
        origins=settings.allowed_origins,
    )
    app.include_router(router)
    return app
