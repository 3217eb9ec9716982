"""Builds the health service, which answers from its first moment: with what is known of the fleet, once it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from services.health.api import router
from services.health.hearing import Hearing
from services.health.metrics import ServerMetrics
from services.health.monitor import HealthMonitor, Sources
from services.health.roll import open_roll
from services.health.settings import HealthSettings
from services.runtime.breakers import BreakerWords, following_breakers
from services.runtime.bus import BusAwayError, open_bus, open_inbox
from services.runtime.bus.metrics import BusMetrics
from services.runtime.config.file import config_path, load_policy
from services.runtime.config.following import following_config
from services.runtime.config.policy import LivePolicy
from services.runtime.garbage import spare_collector
from services.runtime.http import create_service
from services.runtime.lifecycle import Lifecycle, new_instance_id
from services.runtime.maintenance import MaintenanceWords
from services.runtime.metrics import new_registry
from services.runtime.replicas import open_replicas
from services.runtime.store import Store, open_store
from services.runtime.words import following


def create_app(settings: HealthSettings, life: Lifecycle) -> FastAPI:
    """Return the health service's app; nothing is opened before its lifespan."""
    config = config_path(settings.config)
    policy = LivePolicy.of_start(load_policy(config))
    monitor = HealthMonitor(policy)

    async def watch_fleet(store: Store) -> None:
        url, credentials = settings.nats_url.get_secret_value(), settings.nats_credentials
        instance = new_instance_id()
        breakers, maintenance = BreakerWords(), MaintenanceWords()
        try:
            async with (
                open_bus(
                    url, service="health", instance=instance, life=life, credentials=credentials, connect_timeout_s=None
                ) as bus,
                open_inbox(bus) as inbox,
                open_replicas(bus, inbox, life) as replicas,
                open_roll(bus, inbox, life) as fleet,
                following_config(bus, policy, config, instance=instance, service="health"),
                following_breakers(bus, inbox, breakers),
                following(bus, inbox, store, life, maintenance, instance=instance),
            ):
                # From here on, for those heard before have not just begun to serve. The orchestrators do the same.
                fleet.on_serving(lambda report: breakers.permit_probe(report.server, report.version))
                hearing = Hearing(bus)
                life.start(hearing.ask(), name="hearing")
                bus_metrics.watch(bus)
                monitor.watch(Sources(hearing, fleet, replicas, breakers, maintenance))
                await asyncio.Event().wait()  # until the lifecycle ends it
        except BusAwayError:
            if not life.stopping.is_set():
                raise

    def readiness() -> str | None:
        # Ready also when the bus goes away later: saying so is what this service is for.
        return None if monitor.is_watching else "the bus has not been reached yet"

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with life, open_store(settings.store_url, life) as store:
            life.start(watch_fleet(store), name="fleet")
            life.start(monitor.count_entries(store), name="cache-entries")
            spare_collector()
            yield {"monitor": monitor, "readiness": readiness}

    registry = new_registry()
    bus_metrics = BusMetrics(registry)
    ServerMetrics(registry, report=monitor.report, is_bus_up=lambda: monitor.is_bus_up)
    app = create_service("Busbar health", lifespan=lifespan, life=life, registry=registry, names=settings.names)
    app.include_router(router)
    return app
