"""Builds the orchestrator: everything in the order in which it opens; it closes in reverse."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from bus_schemas.inboxes import bulk_instance
from services.orchestrator.admission import Admission
from services.orchestrator.answers import Answers
from services.orchestrator.api import router as query_router
from services.orchestrator.attempts import Attempts
from services.orchestrator.breaker.board import Board
from services.orchestrator.breaker.events import sharing_breakers
from services.orchestrator.breaker.metrics import BreakerMetrics
from services.orchestrator.bus_api import BusApi, serving_bus_queries
from services.orchestrator.cache.cache import AnswerCache
from services.orchestrator.cache.l1 import L1
from services.orchestrator.cache.metrics import CacheMetrics
from services.orchestrator.cache.shelf import Shelf
from services.orchestrator.cache.store import CacheStore
from services.orchestrator.catalogue import CatalogueView
from services.orchestrator.continuations import Continuations
from services.orchestrator.direct_routes import DirectRoutes
from services.orchestrator.dispatch import Dispatcher
from services.orchestrator.flow_metrics import FlowMetrics
from services.orchestrator.flushes import obeying_flushes
from services.orchestrator.idempotency.ledger import open_ledger
from services.orchestrator.limits import Limits
from services.orchestrator.lists import Lists
from services.orchestrator.mcp.api import add_mcp
from services.orchestrator.mcp.metrics import FrontMetrics
from services.orchestrator.mcp.opening import open_front
from services.orchestrator.metrics import QueryMetrics
from services.orchestrator.observer import Observer
from services.orchestrator.openapi import complete
from services.orchestrator.pins import Pins
from services.orchestrator.presence import present
from services.orchestrator.protected_resource import Challenges, metadata_routes
from services.orchestrator.quarantine import QuarantineMetrics
from services.orchestrator.query import QueryService
from services.orchestrator.query_log import open_query_log
from services.orchestrator.recent import RecentHits
from services.orchestrator.repeating import Repeats
from services.orchestrator.retry_budget import RetryBudget
from services.orchestrator.rollouts import RolloutMetrics
from services.orchestrator.settings import OrchestratorSettings
from services.orchestrator.state import OrchestratorState
from services.orchestrator.taken_out import TakenOut
from services.orchestrator.tallies import VersionTallies
from services.orchestrator.tools_api import router as tools_router
from services.runtime.auth.callers import Callers
from services.runtime.auth.issuer import following_issuer
from services.runtime.auth.ring import KeyRing
from services.runtime.auth.tokens import AccessTokens, TokenRules
from services.runtime.breakers import BreakerWords
from services.runtime.bus import Bus, open_bus, open_inbox
from services.runtime.bus.metrics import BusMetrics
from services.runtime.config.file import config_path, load_policy
from services.runtime.config.following import following_config
from services.runtime.config.policy import LivePolicy
from services.runtime.definition_pins import DefinitionPins
from services.runtime.fleet import open_fleet
from services.runtime.garbage import spare_collector
from services.runtime.http import create_service
from services.runtime.lifecycle import Lifecycle, new_instance_id
from services.runtime.maintenance import MaintenanceWords
from services.runtime.metrics import new_registry
from services.runtime.rollouts import RolloutWords
from services.runtime.store import open_store
from services.runtime.tracing import open_tracing
from services.runtime.words import following

_DESCRIPTION = """
Every MCP server of the fleet behind one door. A query names a server and a tool, a resource or a prompt;
the answer is the server's own result, unchanged. Errors are application/problem+json.
"""


def create_app(settings: OrchestratorSettings, life: Lifecycle) -> DirectRoutes:
    """Return the orchestrator's app; nothing is opened before its lifespan."""
    config = config_path(settings.config)
    policy = LivePolicy.of_start(load_policy(config))
    registry = new_registry()
    bus_metrics = BusMetrics(registry)
    cache_metrics = CacheMetrics(registry)
    flow_metrics = FlowMetrics(registry)
    breaker_metrics = BreakerMetrics(registry)
    front_metrics = FrontMetrics(registry)
    rules, issuer = settings.token_rules, settings.issuer()
    callers = Callers(
        None if settings.keys_file is None else KeyRing(settings.keys_file),
        None if rules is None or issuer is None else AccessTokens(rules, issuer),
        listening=[settings.host],
        anonymous=settings.anonymous,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        url, credentials = settings.nats_url.get_secret_value(), settings.nats_credentials
        instance = new_instance_id()
        async with (
            life,
            following_issuer(issuer, registry, life),
            open_bus(url, service="orchestrator", instance=instance, life=life, credentials=credentials) as bus,
            open_bus(
                url, service="orchestrator", instance=bulk_instance(instance), life=life, credentials=credentials
            ) as bulk,
            open_inbox(bus, bulk) as inbox,
            open_fleet(bus, inbox, life) as fleet,
            open_store(settings.store_url, life) as store,
            open_ledger(store) as ledger,
            open_tracing(settings, service="orchestrator", instance=instance) as tracer,
            open_query_log(settings.query_log, registry, slow_ms=settings.query_log_slow_ms) as query_log,
        ):
            bus_metrics.watch(bus, bulk)
            l1 = L1(time.monotonic)
            shelf = Shelf(
                CacheStore(store, instance, cache_metrics.look_ups.observe), l1, is_bus_up=lambda: bus.connected
            )
            cache = AnswerCache(policy, shelf, cache_metrics)
            cache_metrics.watch(memory_bytes=lambda: l1.bytes, is_store_up=lambda: not store.is_away)
            rollouts, maintenance, pins = RolloutWords(), MaintenanceWords(), DefinitionPins()
            RolloutMetrics(registry, rollouts)
            catalogue = CatalogueView(fleet, withheld=lambda: policy.removed, rollout=rollouts.weights, pins=pins)
            QuarantineMetrics(registry, policy, catalogue)
            tallies = VersionTallies(catalogue, rollouts)
            policy.on_change(catalogue.refresh)
            metrics = QueryMetrics(registry, policy.servers, connected=lambda: len(catalogue.servers()))
            policy.on_change(lambda: metrics.know_all(policy.servers))
            flow_metrics.know_all(policy.servers)
            policy.on_change(lambda: flow_metrics.know_all(policy.servers))
            observer = Observer(metrics, catalogue, query_log, tracer)
            words = BreakerWords()
            board = Board(policy, fleet, words, breaker_metrics, instance=instance, open_s=settings.breaker_open_s)
            repeats = Repeats(policy, RetryBudget(time.monotonic), flow_metrics, time.monotonic)
            admission = Admission(
                most_in_flight=settings.max_in_flight, most_held_bytes=settings.max_held_bytes, metrics=flow_metrics
            )
            dispatcher = Dispatcher(bus, inbox, fleet, admission)
            answers = Answers(
                policy, cache, board, dispatcher, repeats=repeats, admission=admission, counting=tallies.counting
            )
            queries = QueryService(
                policy,
                catalogue,
                Attempts(
                    policy,
                    catalogue,
                    answers,
                    Pins(fleet, idle_s=settings.caller_idle_s),
                    Continuations(bus, inbox),
                ),
                TakenOut(maintenance, catalogue, answers),
                Limits(time.monotonic),
                ledger=ledger,
                observer=observer,
                recent=RecentHits(policy, catalogue, cache),
            )
            state = OrchestratorState(queries, admission, Lists(policy, catalogue), callers.over_http)
            api = BusApi(bus, queries, admission, callers.on_bus)
            async with (
                following_config(bus, policy, config, instance=instance, service="orchestrator"),
                obeying_flushes(bus, instance=instance, distrust=cache.distrust),
                sharing_breakers(bus, inbox, life, board, words, instance=instance),
                following(bus, inbox, store, life, maintenance, instance=instance, acknowledges=True),
                following(bus, inbox, store, life, rollouts, instance=instance, acknowledges=True),
                following(bus, inbox, store, life, pins, instance=instance, acknowledges=True),
                present(
                    bus,
                    life,
                    instance=instance,
                    hits=lambda: cache_metrics.hits,
                    misses=lambda: cache_metrics.misses,
                    versions=tallies.told,
                ),
                open_front(
                    bus,
                    life,
                    settings,
                    policy=policy,
                    catalogue=catalogue,
                    queries=queries,
                    admission=admission,
                    metrics=front_metrics,
                ) as mcp,
                serving_bus_queries(api, bus, life, drain_s=settings.drain_timeout_s),
            ):
                spare_collector()
                yield {"orchestrator": state, "mcp": mcp, "readiness": lambda: _readiness(bus)}

    app = create_service(
        "Busbar",
        lifespan=lifespan,
        life=life,
        registry=registry,
        names=settings.names,
        description=_DESCRIPTION,
    )
    _add_routes(app, rules)
    return DirectRoutes(app, names=settings.names, life=life, rules=rules)


def _add_routes(app: FastAPI, rules: TokenRules | None) -> None:
    add_mcp(app)
    for router in (query_router, tools_router):
        app.include_router(router)
    if rules is not None:
        app.include_router(metadata_routes(rules))
        app.add_middleware(Challenges, rules=rules)
    complete(app)


def _readiness(bus: Bus) -> str | None:
    return None if bus.connected else "the bus is away"
