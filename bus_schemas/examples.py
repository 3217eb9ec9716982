"""Examples of every message and header set: for the AsyncAPI document and the golden files."""

from bus_schemas.breakers import ADMIN, AskBreakers, BreakerAcknowledged, BreakerChanged, BreakerState, BreakersTold
from bus_schemas.cache import CacheFlushed, FlushAcknowledged
from bus_schemas.calls import CallHeaders, CancelCall, ChunkHeaders, ErrorHeaders, ResultHeaders
from bus_schemas.clients import ClientAnswered, ClientCancelled, ClientSetLogLevel
from bus_schemas.config import (
    ApplyConfig,
    ConfigApplied,
    ConfigPrepared,
    DeploymentAnswer,
    DeployServer,
    PrepareConfig,
    StopAnswer,
    StopVersion,
)
from bus_schemas.control import Acknowledged, AnswerAsked, DescribeWorker, DrainWorker, FindState, StateFound
from bus_schemas.digests import caller_digest, definition_digest, state_digest
from bus_schemas.errors import ERRORS, ErrorCode, FieldError, Problem
from bus_schemas.maintenance import AskMaintenance, MaintenanceAcknowledged, MaintenanceChanged, MaintenanceTold
from bus_schemas.pins import AskPins, PinsAcknowledged, PinsChanged, PinsTold
from bus_schemas.queries import Answer, CacheMode, CacheUse, Query, Timing
from bus_schemas.replicas import OrchestratorHeartbeat, OrchestratorLeft, VersionCounts
from bus_schemas.rollouts import AskRollouts, RolloutAcknowledged, RolloutsTold, RolloutWeights
from bus_schemas.workers import (
    Catalogue,
    ServerFault,
    WorkerDraining,
    WorkerHeartbeat,
    WorkerJoined,
    WorkerLeft,
    WorkerState,
)

_ID = "01KAVSFC3C8Q6T2V5M8R4N7W1X"
_SERVER = "product_metadata_mcp"
_VERSION = "1.2.0"
_INSTANCE = "q7x2m9c4k1vd"
_TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_MEANING = ERRORS[ErrorCode.INVALID_ARGUMENTS]

QUERY = Query(server=_SERVER, tool="resolve_product", arguments={"alias": "abracadabra"}, timeout_ms=5000)
CONTINUED_QUERY = Query(
    tool="resolve_product",
    arguments={"alias": "abracadabra"},
    cache=CacheMode.BYPASS,
    input_responses={"confirm": {"action": "accept", "content": {"sure": True}}},
    request_state="c3RhdGU",
)
RESOURCE_QUERY = Query(server=_SERVER, resource="product-aliases://list")
PROMPT_QUERY = Query(server=_SERVER, prompt="describe", arguments={"product": "Magic Wand Pro"})
ANSWER = Answer(
    id=_ID,
    server=_SERVER,
    version=_VERSION,
    instance=_INSTANCE,
    cache=CacheUse.MISS,
    attempts=1,
    timing_ms=Timing(total=4.1, upstream=2.9, queue=0.1),
    result={"content": [], "structuredContent": {"product": "Magic Wand Pro"}, "isError": False},
)
PROBLEM = Problem(
    type=f"urn:busbar:error:{ErrorCode.INVALID_ARGUMENTS}",
    title=_MEANING.title,
    status=_MEANING.status,
    detail=_MEANING.detail,
    code=ErrorCode.INVALID_ARGUMENTS,
    id=_ID,
    retryable=False,
    executed="no",
    errors=[FieldError(pointer="/arguments/alias", keyword="required")],
)
REFUSAL = {"code": -32602, "message": "no such alias"}
"""A JSON-RPC error object, as a server sends it."""
REFUSED_PROBLEM = Problem(
    type=f"urn:busbar:error:{ErrorCode.UPSTREAM_REFUSED}",
    title=ERRORS[ErrorCode.UPSTREAM_REFUSED].title,
    status=ERRORS[ErrorCode.UPSTREAM_REFUSED].status,
    detail=ERRORS[ErrorCode.UPSTREAM_REFUSED].detail,
    code=ErrorCode.UPSTREAM_REFUSED,
    id=_ID,
    retryable=False,
    executed="maybe",
    mcp_error=REFUSAL,
)

CALL_HEADERS = CallHeaders(
    request_id=_ID,
    timeout_ms=4990,
    sent_at_ms=1_705_744_800_000,
    attempt=2,
    principal="analytics",
    traceparent=_TRACEPARENT,
    tracestate="vendor=1",
    session_lost=True,
    forwarded={"x-tenant": "emea"},
    wants_progress=True,
    log_level="info",
    client_capabilities='{"elicitation":{"form":{}}}',
)
CALL = {"method": "tools/call", "params": {"name": "resolve_product", "arguments": {"alias": "abracadabra"}}}
CLIENT_ANSWERED = ClientAnswered(
    request_id="busbar-6q1Xw8nJ0c5v9yZkD3m2Tg",
    caller="analytics",
    response='{"jsonrpc":"2.0","id":"busbar-6q1Xw8nJ0c5v9yZkD3m2Tg","result":{"action":"decline"}}',
)
_SESSION = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
CLIENT_CANCELLED = ClientCancelled(session=_SESSION, request_id=7)
CLIENT_SET_LOG_LEVEL = ClientSetLogLevel(session=_SESSION, level="warning")
ASK = {"method": "elicitation/create", "params": {"message": "Which warehouse?", "requestedSchema": {"type": "object"}}}
ANSWER_ASKED = AnswerAsked(ask_id="Zk3mD2T5v9yQ6q1Xw8nJ0c", answer='{"result":{"action":"decline"}}')
LOG_MESSAGE = {"level": "warning", "logger": "orders", "data": "the index is being rebuilt"}
PROGRESS = {"progress": 50, "total": 100, "message": "half of the catalogue is read"}
"""What a server says of a call's progress, without the token."""
RESULT_HEADERS = ResultHeaders(instance=_INSTANCE, upstream_us=2900, queue_us=100)
CHUNK_HEADERS = ChunkHeaders(
    RESULT_HEADERS, chunk=1, chunks=2, sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
)
ERROR_HEADERS = ErrorHeaders(instance=_INSTANCE, code=ErrorCode.UPSTREAM_REFUSED, executed="maybe")
INSTANCE = _INSTANCE
CANCEL_CALL = CancelCall(request_id=_ID, attempt=2)

DESCRIBE_WORKER = DescribeWorker()
DRAIN_WORKER = DrainWorker()
FIND_STATE = FindState(state_sha256=state_digest("c3RhdGU"))
STATE_FOUND = StateFound(instance=_INSTANCE, is_held=True)
ACKNOWLEDGED = Acknowledged(instance=_INSTANCE)

CATALOGUE = Catalogue(
    tools=[
        {
            "name": "resolve_product",
            "inputSchema": {
                "type": "object",
                "properties": {"alias": {"type": "string"}, "region": {"default": None}},
                "required": ["alias"],
            },
            "annotations": {"readOnlyHint": True},
        }
    ],
    resources=[{"name": "aliases", "uri": "product-aliases://list"}],
    resource_templates=[{"name": "alias", "uriTemplate": "product-aliases://{alias}"}],
    prompts=[{"name": "describe", "arguments": [{"name": "product", "required": True}]}],
)
WORKER_JOINED = WorkerJoined(
    server=_SERVER,
    version=_VERSION,
    instance=_INSTANCE,
    state=WorkerState.SERVING,
    started_at=1_705_744_700.25,
    sent_at=1_705_744_800.5,
    in_flight=3,
    max_in_flight=64,
    restarts=1,
    catalogue=CATALOGUE.digest(),
    latency_ms=2.5,
    checked_at=1_705_744_799.0,
    callers=[caller_digest("analytics")],
    offers=CATALOGUE,
)
WORKER_JOINED_UNAVAILABLE = WORKER_JOINED.model_copy(
    update={"state": WorkerState.UNAVAILABLE, "fault": ServerFault.PROCESS_EXITED}
)
"""As the answer to DescribeWorker, of a worker whose server is gone."""
WORKER_HEARTBEAT = WorkerHeartbeat(
    server=_SERVER,
    version=_VERSION,
    instance=_INSTANCE,
    state=WorkerState.UNAVAILABLE,
    started_at=1_705_744_700.25,
    sent_at=1_705_744_801.5,
    in_flight=3,
    max_in_flight=64,
    restarts=1,
    catalogue=CATALOGUE.digest(),
    latency_ms=2.5,
    checked_at=1_705_744_799.0,
    fault=ServerFault.CONNECTION_REFUSED,
    callers=[caller_digest("analytics")],
)
WORKER_DRAINING = WorkerDraining(server=_SERVER, version=_VERSION, instance=_INSTANCE, by_order=True)
WORKER_LEFT = WorkerLeft(server=_SERVER, version=_VERSION, instance=_INSTANCE, answered=1204)

_ORCHESTRATOR = "c4k1vdq7x2m9"
CACHE_FLUSHED = CacheFlushed(server=_SERVER, target="resolve_product")
WHOLE_CACHE_FLUSHED = CacheFlushed()
FLUSH_ACKNOWLEDGED = FlushAcknowledged(instance=_ORCHESTRATOR)
ORCHESTRATOR_HEARTBEAT = OrchestratorHeartbeat(
    instance=_ORCHESTRATOR,
    started_at=1_705_744_700.25,
    cache_hits=930,
    cache_misses=310,
    versions=[
        VersionCounts(
            server=_SERVER, version=_VERSION, requests=60, errors=1, latencies={8: 57, 20: 3}, in_flight={30: 2}
        )
    ],
)
ORCHESTRATOR_LEFT = OrchestratorLeft(instance=_ORCHESTRATOR)

BREAKER_OPENED = BreakerChanged(
    server=_SERVER,
    version=_VERSION,
    state=BreakerState.OPEN,
    epoch=1_705_744_800_000,
    opened_at=1_705_744_800.25,
    open_ms=31_500,
    by=_ORCHESTRATOR,
    reason="5 failures in a row",
)
SERVER_ISOLATED = BreakerChanged(
    server=_SERVER,
    state=BreakerState.ISOLATED,
    epoch=1_705_744_900_000,
    opened_at=1_705_744_900.5,
    open_ms=600_000,
    by=ADMIN,
    reason="its database is being moved",
)
"""As an operator orders it."""
BREAKER_ACKNOWLEDGED = BreakerAcknowledged(instance=_ORCHESTRATOR)
ASK_BREAKERS = AskBreakers()
BREAKERS_TOLD = BreakersTold(instance=_ORCHESTRATOR, breakers=[BREAKER_OPENED, SERVER_ISOLATED])

_ADMIN = "d2c4k1vq7x9m"
ROLLOUT_WEIGHTS = RolloutWeights(
    server=_SERVER,
    weights={"1.1.0": 90, _VERSION: 10},
    under_way=True,
    epoch=1_705_744_800_000,
    updated_at=1_705_744_800.25,
    by=_ADMIN,
)
ROLLOUT_ACKNOWLEDGED = RolloutAcknowledged(instance=_ORCHESTRATOR)
ASK_ROLLOUTS = AskRollouts()
ROLLOUTS_TOLD = RolloutsTold(instance=_ORCHESTRATOR, words=[ROLLOUT_WEIGHTS])

SERVER_TAKEN_OUT = MaintenanceChanged(
    server=_SERVER,
    is_out=True,
    until=1_705_752_000.0,
    reason="its database is being moved",
    epoch=1_705_744_800_000,
    updated_at=1_705_744_800.25,
    by=_ADMIN,
)
SERVER_PUT_BACK = MaintenanceChanged(
    server=_SERVER, is_out=False, epoch=1_705_748_400_000, updated_at=1_705_748_400.5, by=_ADMIN
)
MAINTENANCE_ACKNOWLEDGED = MaintenanceAcknowledged(instance=_ORCHESTRATOR)
ASK_MAINTENANCE = AskMaintenance()
MAINTENANCE_TOLD = MaintenanceTold(instance=_ORCHESTRATOR, words=[SERVER_TAKEN_OUT])

DEFINITIONS_PINNED = PinsChanged(
    server=_SERVER,
    tools={"resolve_product": [definition_digest(CATALOGUE.tools[0])]},
    epoch=1_705_744_800_000,
    updated_at=1_705_744_800.25,
    by=_ADMIN,
)
DEFINITIONS_UNPINNED = PinsChanged(server=_SERVER, epoch=1_705_748_400_000, updated_at=1_705_748_400.5, by=_ADMIN)
PINS_ACKNOWLEDGED = PinsAcknowledged(instance=_ORCHESTRATOR)
ASK_PINS = AskPins()
PINS_TOLD = PinsTold(instance=_ORCHESTRATOR, words=[DEFINITIONS_PINNED])

_DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
PREPARE_CONFIG = PrepareConfig()
CONFIG_PREPARED = ConfigPrepared(
    instance=_ORCHESTRATOR,
    service="orchestrator",
    digest=_DIGEST,
    added=["files_mcp"],
    removed=["notes_mcp"],
    changed=[_SERVER],
    undeployed=[],
)
CONFIG_REFUSED = ConfigPrepared(
    instance=_ORCHESTRATOR, service="orchestrator", problems=["servers.files_mcp.timeout_s: must be a valid number"]
)
APPLY_CONFIG = ApplyConfig(digest=_DIGEST)
CONFIG_APPLIED = ConfigApplied(instance=_ORCHESTRATOR, service="orchestrator")
_SUPERVISOR = "s7c4k1vq2x9m"
DEPLOY_SERVER = DeployServer(server=_SERVER, config_file="/etc/busbar/busbar.yaml")
DEPLOYMENT_ANSWER = DeploymentAnswer(instance=_SUPERVISOR, from_version="1.1.0", to_version=_VERSION, workers=2)
STOP_VERSION = StopVersion(server=_SERVER, version=_VERSION)
STOP_ANSWER = StopAnswer(instance=_SUPERVISOR, outcome="stopped")
