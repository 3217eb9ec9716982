"""Builds the admin service: everything in the order in which it opens; it closes in reverse."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from services.admin import breakers_api, cache_api, config_api, maintenance_api, pins_api, servers_api, workers_api
from services.admin.access import Access
from services.admin.audit import Audit
from services.admin.breakers import BreakerControl
from services.admin.cache import CacheControl
from services.admin.console import pages
from services.admin.console.audit_tail import AuditTail
from services.admin.console.board import Board, Sources
from services.admin.console.console import Console
from services.admin.console.session_store import SessionStore
from services.admin.console.sessions import Sessions
from services.admin.console.static_files import read_static_files
from services.admin.console.templates import Templates
from services.admin.console.traffic import Traffic
from services.admin.known_servers import KnownServers
from services.admin.maintenance import MaintenanceControl
from services.admin.pins import PinControl
from services.admin.reloading import ConfigControl
from services.admin.rollouts import api as rollouts_api
from services.admin.rollouts.book import RolloutBook
from services.admin.rollouts.control import RolloutControl
from services.admin.rollouts.driver import Driver, driving
from services.admin.rollouts.survey import Fleetwatch
from services.admin.rollouts.telling import Telling
from services.admin.servers import Servers
from services.admin.settings import AdminSettings
from services.admin.state import AdminState
from services.admin.workers import WorkerControl
from services.runtime.auth.ring import KeyRing
from services.runtime.breakers import BreakerWords, following_breakers
from services.runtime.bus import open_bus, open_inbox
from services.runtime.bus.metrics import BusMetrics
from services.runtime.config.file import config_path, load_policy
from services.runtime.config.following import following_config
from services.runtime.config.policy import LivePolicy
from services.runtime.definition_pins import DefinitionPins
from services.runtime.fleet import open_fleet
from services.runtime.http import create_service
from services.runtime.lifecycle import Lifecycle, new_instance_id
from services.runtime.maintenance import MaintenanceWords
from services.runtime.metrics import new_registry
from services.runtime.replicas import open_replicas
from services.runtime.rollouts import RolloutWords
from services.runtime.store import open_store
from services.runtime.words import following


def create_app(settings: AdminSettings, life: Lifecycle) -> FastAPI:
    """Return the admin service's app; nothing is opened before its lifespan."""
    config = config_path(settings.config)
    policy = LivePolicy.of_start(load_policy(config))
    registry = new_registry()
    bus_metrics = BusMetrics(registry)
    ring = None if settings.keys_file is None else KeyRing(settings.keys_file)
    files = read_static_files()
    templates = Templates(files)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        url, credentials = settings.nats_url.get_secret_value(), settings.nats_credentials
        instance = new_instance_id()
        breaker_words, maintenance_words, rollout_words = BreakerWords(), MaintenanceWords(), RolloutWords()
        pins = DefinitionPins()
        async with (
            life,
            open_bus(url, service="admin", instance=instance, life=life, credentials=credentials) as bus,
            open_inbox(bus) as inbox,
            open_fleet(bus, inbox, life) as fleet,
            open_replicas(bus, inbox, life) as replicas,
            open_store(settings.store_url, life) as store,
            following_config(bus, policy, config, instance=instance, service="admin"),
            following_breakers(bus, inbox, breaker_words),
            following(bus, inbox, store, life, maintenance_words, instance=instance),
            following(bus, inbox, store, life, rollout_words, instance=instance),
            following(bus, inbox, store, life, pins, instance=instance),
        ):
            bus_metrics.watch(bus)
            fleet.on_serving(lambda report: breaker_words.permit_probe(report.server, report.version))
            known = KnownServers(policy, fleet)
            workers = WorkerControl(fleet, inbox)
            breakers = BreakerControl(breaker_words, inbox, replicas, fleet, known)
            servers = Servers(known, workers, breakers, maintenance_words)
            cache = CacheControl(store, replicas, known, policy)
            book = RolloutBook(store)
            watch = Fleetwatch(fleet, replicas, rollout_words, breaker_words)
            telling = Telling(store, rollout_words, replicas, workers, instance=instance)
            rollouts = RolloutControl(book, telling, watch, known)
            sessions, traffic = Sessions(SessionStore(store)), Traffic()
            sources = Sources(
                bus, fleet, replicas, servers, watch, breakers, rollouts, cache, traffic, AuditTail(settings.audit_path)
            )
            life.start(traffic.watch(replicas), name="traffic")
            store_is_back = asyncio.Event()
            store.on_return(store_is_back.set)
            life.start(sessions.follow_store(store_is_back), name="console-sessions")
            async with driving(Driver(book, telling, watch, instance=instance), life):
                yield {
                    "admin": AdminState(
                        access=Access(ring, sessions),
                        audit=Audit(settings.audit_path, instance),
                        servers=servers,
                        workers=workers,
                        breakers=breakers,
                        maintenance=MaintenanceControl(maintenance_words, replicas, store, known, instance=instance),
                        pins=PinControl(pins, fleet, replicas, store, known, instance=instance),
                        cache=cache,
                        config=ConfigControl(
                            bus, inbox, fleet, replicas, config, has_supervisor=settings.has_supervisor
                        ),
                        rollouts=rollouts,
                        console=Console(Board(sources, templates), templates, files, life),
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
    for router in (
        servers_api.router,
        maintenance_api.router,
        workers_api.router,
        pins_api.router,
        breakers_api.router,
        cache_api.router,
        config_api.router,
        rollouts_api.router,
        pages.router,
    ):
        app.include_router(router)
    return app
