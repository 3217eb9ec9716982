"""Builds the front, and opens what it hears."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.orchestrator.admission import Admission
from services.orchestrator.catalogue import CatalogueView
from services.orchestrator.mcp.api import McpState
from services.orchestrator.mcp.calls import Calls
from services.orchestrator.mcp.changes import ListChanges
from services.orchestrator.mcp.client_events import hearing_clients
from services.orchestrator.mcp.directory import Directory
from services.orchestrator.mcp.front import Front
from services.orchestrator.mcp.legacy import LegacyFront
from services.orchestrator.mcp.lists import McpLists
from services.orchestrator.mcp.metrics import FrontMetrics
from services.orchestrator.mcp.modern import ModernFront
from services.orchestrator.mcp.requests import Requests
from services.orchestrator.mcp.searching import SearchingRequests
from services.orchestrator.mcp.sessions import Seal, shared_secret
from services.orchestrator.query import QueryService
from services.orchestrator.settings import OrchestratorSettings
from services.runtime.bus import Bus
from services.runtime.config.policy import Policy
from services.runtime.lifecycle import Lifecycle


@asynccontextmanager
async def open_front(
    bus: Bus,
    life: Lifecycle,
    settings: OrchestratorSettings,
    *,
    policy: Policy,
    catalogue: CatalogueView,
    queries: QueryService,
    admission: Admission,
    metrics: FrontMetrics,
) -> AsyncIterator[McpState]:
    """Yield what requests of MCP clients need; streams end when `life` begins to stop."""
    async with hearing_clients(bus) as clients:
        changes = ListChanges(catalogue, most_listeners=settings.mcp_streams)
        life.start(changes.watch(life.stopping), name="mcp-list-changes")
        metrics.watch(streams=lambda: changes.listeners)
        directory = Directory(policy, catalogue)
        lists = McpLists(directory, page_size=settings.mcp_page_size)
        calls = Calls(policy, directory, queries, admission)
        nkey = None if settings.nats_nkey is None else settings.nats_nkey.get_secret_value()
        seal = Seal(shared_secret(settings.nats_url.get_secret_value(), nkey))

        def front(requests: Requests) -> Front:
            legacy = LegacyFront(seal, directory, requests, clients)
            return Front(ModernFront(directory, requests), legacy, changes, admission, metrics)

        searching = SearchingRequests(directory, lists, calls, catalogue)
        yield McpState(front(Requests(directory, lists, calls)), front(searching), directory)
