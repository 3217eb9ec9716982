"""Builds the admin service: everything in the order in which it opens; it closes in reverse."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from services.admin import api, cache_api
from services.admin.access import Access
from services.admin.audit import Audit
from services.admin.cache import CacheControl
from services.admin.settings import AdminSettings
from services.admin.state import AdminState
from services.runtime.auth.ring import KeyRing
from services.runtime.bus import open_bus, open_inbox
from services.runtime.bus.metrics import BusMetrics
from services.runtime.config.file import load_policy
from services.runtime.fleet import open_fleet
from services.runtime.http import create_service
from services.runtime.lifecycle import Lifecycle, new_instance_id
from services.runtime.metrics import new_registry
from services.runtime.replicas import open_replicas
from services.runtime.store import open_store


def create_app(settings: AdminSettings, life: Lifecycle) -> FastAPI:
    """Return the admin service's app; nothing is opened before its lifespan."""
    policy = load_policy(settings.config)
    registry = new_registry()
    bus_metrics = BusMetrics(registry)
    access = Access(None if settings.keys_file is None else KeyRing(settings.keys_file))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        url, instance = settings.nats_url.get_secret_value(), new_instance_id()
        async with (
            life,
            open_bus(url, service="admin", instance=instance, life=life) as bus,
            open_inbox(bus) as inbox,
            open_fleet(bus, inbox, life) as fleet,
            open_replicas(bus, inbox, life) as replicas,
            open_store(settings.store_url, life) as store,
        ):
            bus_metrics.watch(bus)
            yield {
                "admin": AdminState(
                    access=access,
                    audit=Audit(settings.audit_path, instance),
                    fleet=fleet,
                    cache=CacheControl(store, replicas, fleet, policy),
                ),
                "readiness": lambda: None if bus.connected else "the bus is away",
            }

    app = create_service(
        "Busbar admin",
        lifespan=lifespan,
        life=life,
        registry=registry,
        names=settings.names,
    )
    for router in (api.router, cache_api.reading, cache_api.changing):
        app.include_router(router)
    return app
