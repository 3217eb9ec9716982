"""Builds the orchestrator: everything in the order in which it opens; it closes in reverse."""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from bus_schemas.inboxes import bulk_instance
from services.orchestrator.answers import Answers
from services.orchestrator.api import router
from services.orchestrator.attempts import Attempts
from services.orchestrator.bus_api import BusApi, serving_bus_queries
from services.orchestrator.cache.cache import AnswerCache
from services.orchestrator.cache.l1 import L1
from services.orchestrator.cache.metrics import CacheMetrics
from services.orchestrator.cache.shelf import Shelf
from services.orchestrator.cache.store import CacheStore
from services.orchestrator.catalogue import CatalogueView
from services.orchestrator.continuations import Continuations
from services.orchestrator.dispatch import Dispatcher
from services.orchestrator.flushes import obeying_flushes
from services.orchestrator.idempotency import open_ledger
from services.orchestrator.limits import Limits
from services.orchestrator.lists import Lists
from services.orchestrator.metrics import QueryMetrics
from services.orchestrator.openapi import complete
from services.orchestrator.pins import Pins
from services.orchestrator.presence import present
from services.orchestrator.query import QueryService
from services.orchestrator.settings import OrchestratorSettings
from services.orchestrator.state import OrchestratorState
from services.runtime.auth.authentication import anonymous_caller, authenticate
from services.runtime.auth.principals import BUS, Principal
from services.runtime.auth.ring import KeyRing
from services.runtime.bus import Bus, open_bus, open_inbox
from services.runtime.config.file import load_policy
from services.runtime.fleet import open_fleet
from services.runtime.http import create_service
from services.runtime.lifecycle import Lifecycle, new_instance_id
from services.runtime.metrics import new_registry
from services.runtime.store import open_store

_DESCRIPTION = """
Every MCP server of the fleet behind one door. A query names a server and a tool, a resource or a prompt;
the answer is the server's own result, unchanged. Errors are application/problem+json.
"""


def create_app(settings: OrchestratorSettings, life: Lifecycle) -> FastAPI:
    """Return the orchestrator's app; nothing is opened before its lifespan."""
    policy = load_policy(settings.config)
    registry = new_registry()
    cache_metrics = CacheMetrics(registry)
    ring = None if settings.keys_file is None else KeyRing(settings.keys_file)

    def http_caller(authorization: str | None, header_names: Iterable[str]) -> Principal:
        anonymous = anonymous_caller(
            [settings.host], header_names, has_keys_file=ring is not None, setting=settings.anonymous
        )
        return authenticate(authorization, ring=ring, without_key=anonymous, scope="query")

    def bus_caller(authorization: str | None) -> Principal:
        return authenticate(authorization, ring=ring, without_key=BUS, scope="query")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        url, instance = settings.nats_url.get_secret_value(), new_instance_id()
        async with (
            life,
            open_bus(url, service="orchestrator", instance=instance, life=life) as bus,
            open_bus(url, service="orchestrator", instance=bulk_instance(instance), life=life) as bulk,
            open_inbox(bus, bulk) as inbox,
            open_fleet(bus, inbox, life) as fleet,
            open_store(settings.store_url, life) as store,
            open_ledger(store) as ledger,
        ):
            l1 = L1(time.monotonic)
            shelf = Shelf(CacheStore(store, instance), l1, is_bus_up=lambda: bus.connected)
            cache = AnswerCache(policy, shelf, cache_metrics)
            cache_metrics.watch(memory_bytes=lambda: l1.bytes, is_store_up=lambda: not store.is_away)
            catalogue = CatalogueView(fleet)
            metrics = QueryMetrics(registry, policy.servers, connected=lambda: len(catalogue.servers()))
            queries = QueryService(
                policy,
                catalogue,
                Attempts(
                    policy,
                    catalogue,
                    Answers(policy, cache, Dispatcher(bus, inbox, fleet)),
                    Pins(fleet, idle_s=settings.caller_idle_s),
                    Continuations(bus, inbox),
                ),
                Limits(time.monotonic),
                ledger=ledger,
                metrics=metrics,
            )
            state = OrchestratorState(queries, Lists(policy, catalogue), http_caller)
            api = BusApi(bus, queries, bus_caller)
            async with (
                obeying_flushes(bus, instance=instance, distrust=cache.distrust),
                present(
                    bus,
                    life,
                    instance=instance,
                    hits=lambda: cache_metrics.hits,
                    misses=lambda: cache_metrics.misses,
                ),
                serving_bus_queries(api, bus, life, drain_s=settings.drain_timeout_s),
            ):
                yield {"orchestrator": state, "readiness": lambda: _readiness(bus)}

    app = create_service(
        "Busbar",
        lifespan=lifespan,
        life=life,
        registry=registry,
        names=settings.names,
        description=_DESCRIPTION,
    )
    app.include_router(router)
    complete(app)
    return app


def _readiness(bus: Bus) -> str | None:
    return None if bus.connected else "the bus is away"
