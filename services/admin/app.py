"""Builds the admin service: everything in the order in which it opens; it closes in reverse."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from services.admin.api import AdminState, router
from services.admin.settings import AdminSettings
from services.runtime.auth.authentication import authenticate
from services.runtime.auth.principals import Principal
from services.runtime.auth.ring import KeyRing
from services.runtime.bus import open_bus, open_inbox
from services.runtime.fleet import open_fleet
from services.runtime.http import create_service
from services.runtime.lifecycle import Lifecycle, new_instance_id
from services.runtime.metrics import new_registry


def create_app(settings: AdminSettings, life: Lifecycle) -> FastAPI:
    """Return the admin service's app; nothing is opened before its lifespan."""
    ring = None if settings.keys_file is None else KeyRing(settings.keys_file)

    def admin(authorization: str | None) -> Principal:
        return authenticate(authorization, ring=ring, without_key=None, scope="admin")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        url, instance = settings.nats_url.get_secret_value(), new_instance_id()
        async with (
            life,
            open_bus(url, service="admin", instance=instance, life=life) as bus,
            open_inbox(bus) as inbox,
            open_fleet(bus, inbox, life) as fleet,
        ):
            yield {
                "admin": AdminState(fleet, admin),
                "readiness": lambda: None if bus.connected else "the bus is away",
            }

    app = create_service(
        "Busbar admin",
        lifespan=lifespan,
        life=life,
        registry=new_registry(),
        names=settings.names,
    )
    app.include_router(router)
    return app
