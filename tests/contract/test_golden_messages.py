"""Every message and header set against its golden file: what is on the wire stays what it is, from release to release.

A file holds `full`, what this release writes for the example in `bus_schemas.examples`, and `least`, what the oldest
release that we must understand sends: the fields without which there is no sense in the message.
A message that has changed on purpose gets its `full` by hand; a `least` is never changed.
"""

import json
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel, ValidationError

import bus_schemas
from bus_schemas import examples
from bus_schemas.breakers import AskBreakers, BreakerAcknowledged, BreakerChanged, BreakersTold
from bus_schemas.cache import CacheFlushed, FlushAcknowledged
from bus_schemas.calls import (
    CallHeaders,
    CancelCall,
    ChunkHeaders,
    ErrorHeaders,
    ResultHeaders,
    accepted_headers,
    ask_headers,
    log_headers,
    progress_headers,
)
from bus_schemas.clients import decode_client_event
from bus_schemas.config import (
    ConfigApplied,
    ConfigPrepared,
    DeploymentAnswer,
    StopAnswer,
    decode_config_order,
    decode_supervisor_order,
)
from bus_schemas.control import Acknowledged, StateFound, decode_order
from bus_schemas.envelope import Message
from bus_schemas.errors import FieldError, Problem
from bus_schemas.maintenance import AskMaintenance, MaintenanceAcknowledged, MaintenanceChanged, MaintenanceTold
from bus_schemas.pins import AskPins, PinsAcknowledged, PinsChanged, PinsTold
from bus_schemas.queries import Answer, Query, Timing
from bus_schemas.replicas import VersionCounts, decode_orchestrator_event
from bus_schemas.rollouts import AskRollouts, RolloutAcknowledged, RolloutsTold, RolloutWeights
from bus_schemas.workers import Catalogue, WorkerReport, decode_worker_event
from services.runtime.errors import InvalidArgumentsError, UpstreamRefusedError
from services.runtime.problems import problem_body

GOLDEN = Path(__file__).parent / "golden"
BASES = {Message, WorkerReport}
PARTS = {FieldError, Timing, VersionCounts}
"""Models that travel only inside others."""


class Sample(NamedTuple):
    """An example, and how its reader reads it from JSON values."""

    value: Any
    decode: Callable[[Any], object]


def from_json(decode: Callable[[bytes], object]) -> Callable[[Any], object]:
    return lambda document: decode(json.dumps(document).encode())


SAMPLES: dict[str, Sample] = {
    "query": Sample(examples.QUERY, Query.model_validate),
    "query_of_resource": Sample(examples.RESOURCE_QUERY, Query.model_validate),
    "query_of_prompt": Sample(examples.PROMPT_QUERY, Query.model_validate),
    "query_continued": Sample(examples.CONTINUED_QUERY, Query.model_validate),
    "answer": Sample(examples.ANSWER, Answer.model_validate),
    "problem": Sample(examples.PROBLEM, Problem.model_validate),
    "problem_of_server": Sample(examples.REFUSED_PROBLEM, Problem.model_validate),
    "call_headers": Sample(examples.CALL_HEADERS, CallHeaders.decode),
    "result_headers": Sample(examples.RESULT_HEADERS, ResultHeaders.decode),
    "chunk_headers": Sample(examples.CHUNK_HEADERS, ChunkHeaders.decode),
    "error_headers": Sample(examples.ERROR_HEADERS, ErrorHeaders.decode),
    "cancel_call": Sample(examples.CANCEL_CALL, from_json(CancelCall.model_validate_json)),
    "describe_worker": Sample(examples.DESCRIBE_WORKER, from_json(decode_order)),
    "drain_worker": Sample(examples.DRAIN_WORKER, from_json(decode_order)),
    "client_answered": Sample(examples.CLIENT_ANSWERED, from_json(decode_client_event)),
    "client_cancelled": Sample(examples.CLIENT_CANCELLED, from_json(decode_client_event)),
    "client_set_log_level": Sample(examples.CLIENT_SET_LOG_LEVEL, from_json(decode_client_event)),
    "answer_asked": Sample(examples.ANSWER_ASKED, from_json(decode_order)),
    "find_state": Sample(examples.FIND_STATE, from_json(decode_order)),
    "state_found": Sample(examples.STATE_FOUND, from_json(StateFound.model_validate_json)),
    "acknowledged": Sample(examples.ACKNOWLEDGED, from_json(Acknowledged.model_validate_json)),
    "catalogue": Sample(examples.CATALOGUE, from_json(Catalogue.model_validate_json)),
    "worker_joined": Sample(examples.WORKER_JOINED, from_json(decode_worker_event)),
    "worker_joined_unavailable": Sample(examples.WORKER_JOINED_UNAVAILABLE, from_json(decode_worker_event)),
    "worker_heartbeat": Sample(examples.WORKER_HEARTBEAT, from_json(decode_worker_event)),
    "worker_draining": Sample(examples.WORKER_DRAINING, from_json(decode_worker_event)),
    "worker_left": Sample(examples.WORKER_LEFT, from_json(decode_worker_event)),
    "orchestrator_heartbeat": Sample(examples.ORCHESTRATOR_HEARTBEAT, from_json(decode_orchestrator_event)),
    "orchestrator_left": Sample(examples.ORCHESTRATOR_LEFT, from_json(decode_orchestrator_event)),
    "cache_flushed": Sample(examples.CACHE_FLUSHED, from_json(CacheFlushed.model_validate_json)),
    "cache_flushed_whole": Sample(examples.WHOLE_CACHE_FLUSHED, from_json(CacheFlushed.model_validate_json)),
    "flush_acknowledged": Sample(examples.FLUSH_ACKNOWLEDGED, from_json(FlushAcknowledged.model_validate_json)),
    "breaker_opened": Sample(examples.BREAKER_OPENED, from_json(BreakerChanged.model_validate_json)),
    "server_isolated": Sample(examples.SERVER_ISOLATED, from_json(BreakerChanged.model_validate_json)),
    "breaker_acknowledged": Sample(examples.BREAKER_ACKNOWLEDGED, from_json(BreakerAcknowledged.model_validate_json)),
    "ask_breakers": Sample(examples.ASK_BREAKERS, from_json(AskBreakers.model_validate_json)),
    "breakers_told": Sample(examples.BREAKERS_TOLD, from_json(BreakersTold.model_validate_json)),
    "prepare_config": Sample(examples.PREPARE_CONFIG, from_json(decode_config_order)),
    "config_prepared": Sample(examples.CONFIG_PREPARED, from_json(ConfigPrepared.model_validate_json)),
    "config_refused": Sample(examples.CONFIG_REFUSED, from_json(ConfigPrepared.model_validate_json)),
    "apply_config": Sample(examples.APPLY_CONFIG, from_json(decode_supervisor_order)),
    "config_applied": Sample(examples.CONFIG_APPLIED, from_json(ConfigApplied.model_validate_json)),
    "deploy_server": Sample(examples.DEPLOY_SERVER, from_json(decode_supervisor_order)),
    "deployment_answer": Sample(examples.DEPLOYMENT_ANSWER, from_json(DeploymentAnswer.model_validate_json)),
    "stop_version": Sample(examples.STOP_VERSION, from_json(decode_supervisor_order)),
    "stop_answer": Sample(examples.STOP_ANSWER, from_json(StopAnswer.model_validate_json)),
    "rollout_weights": Sample(examples.ROLLOUT_WEIGHTS, from_json(RolloutWeights.model_validate_json)),
    "rollout_acknowledged": Sample(examples.ROLLOUT_ACKNOWLEDGED, from_json(RolloutAcknowledged.model_validate_json)),
    "ask_rollouts": Sample(examples.ASK_ROLLOUTS, from_json(AskRollouts.model_validate_json)),
    "rollouts_told": Sample(examples.ROLLOUTS_TOLD, from_json(RolloutsTold.model_validate_json)),
    "server_taken_out": Sample(examples.SERVER_TAKEN_OUT, from_json(MaintenanceChanged.model_validate_json)),
    "server_put_back": Sample(examples.SERVER_PUT_BACK, from_json(MaintenanceChanged.model_validate_json)),
    "maintenance_acknowledged": Sample(
        examples.MAINTENANCE_ACKNOWLEDGED, from_json(MaintenanceAcknowledged.model_validate_json)
    ),
    "definitions_pinned": Sample(examples.DEFINITIONS_PINNED, from_json(PinsChanged.model_validate_json)),
    "definitions_unpinned": Sample(examples.DEFINITIONS_UNPINNED, from_json(PinsChanged.model_validate_json)),
    "pins_acknowledged": Sample(examples.PINS_ACKNOWLEDGED, from_json(PinsAcknowledged.model_validate_json)),
    "ask_pins": Sample(examples.ASK_PINS, from_json(AskPins.model_validate_json)),
    "pins_told": Sample(examples.PINS_TOLD, from_json(PinsTold.model_validate_json)),
    "ask_maintenance": Sample(examples.ASK_MAINTENANCE, from_json(AskMaintenance.model_validate_json)),
    "maintenance_told": Sample(examples.MAINTENANCE_TOLD, from_json(MaintenanceTold.model_validate_json)),
}
TOLERANT = sorted(name for name, sample in SAMPLES.items() if not isinstance(sample.value, Query))


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_bytes())


def encoded(value: Any) -> Any:
    """The example as its writer puts it on the wire, as JSON values."""
    if isinstance(value, Message):
        return json.loads(value.encode())
    if isinstance(value, BaseModel):
        return json.loads(value.model_dump_json(exclude_none=True))
    return value.encode()


def wire_classes() -> set[type[Any]]:
    """Every class of bus_schemas that travels by itself: models, and header sets with an `encode`."""
    found: set[type[Any]] = set()
    for module in pkgutil.iter_modules(bus_schemas.__path__, "bus_schemas."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, type) and value.__module__ == module.name and not value.__name__.startswith("_"):
                is_header_set = hasattr(value, "encode") and (is_dataclass(value) or hasattr(value, "_fields"))
                if is_header_set or issubclass(value, BaseModel):
                    found.add(value)
    return found - BASES - PARTS


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_message_is_written_as_in_its_golden_file(name: str) -> None:
    assert encoded(SAMPLES[name].value) == golden(name)["full"]


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_golden_file_is_read_as_the_message_it_was_written_from(name: str) -> None:
    value, decode = SAMPLES[name]
    assert decode(golden(name)["full"]) == value


@pytest.mark.parametrize("name", TOLERANT)
def test_what_a_later_release_adds_is_ignored(name: str) -> None:
    value, decode = SAMPLES[name]
    assert decode({**golden(name)["full"], "added-by-release-n-plus-1": "x"}) == value


def test_an_unknown_field_of_a_query_is_refused() -> None:
    with pytest.raises(ValidationError):
        Query.model_validate({**golden("query")["full"], "timeout": 5})


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_what_the_release_before_sends_is_still_read(name: str) -> None:
    value, decode = SAMPLES[name]
    least = golden(name)["least"]
    read = decode(least)
    assert type(read) is type(value)
    assert least.items() <= encoded(read).items()


@pytest.mark.parametrize("kind", sorted(wire_classes(), key=str))
def test_every_message_has_a_golden_file_that_shows_each_of_its_fields(kind: type[Any]) -> None:
    values = [sample.value for sample in SAMPLES.values() if type(sample.value) is kind]
    assert values, f"no golden file for {kind.__name__}: add an example, a sample and the file"
    names = kind.model_fields if issubclass(kind, BaseModel) else _fields(kind)
    never_shown = [name for name in names if all(getattr(value, name) is None for value in values)]
    assert never_shown == []


def _fields(header_set: type[Any]) -> Sequence[str]:
    return [field.name for field in fields(header_set)] if is_dataclass(header_set) else header_set._fields


def test_every_golden_file_is_of_a_message() -> None:
    replies = {"accepted_headers", "ask_headers", "log_headers", "progress_headers"}
    assert {path.stem for path in GOLDEN.iterdir()} == SAMPLES.keys() | replies


def test_replies_without_an_outcome_are_written_as_in_their_golden_files() -> None:
    assert accepted_headers(examples.INSTANCE) == golden("accepted_headers")["full"]
    assert progress_headers(examples.INSTANCE) == golden("progress_headers")["full"]
    assert ask_headers(examples.INSTANCE, examples.ANSWER_ASKED.ask_id) == golden("ask_headers")["full"]
    assert log_headers(examples.INSTANCE) == golden("log_headers")["full"]


def test_the_services_write_problems_as_in_the_golden_files() -> None:
    wrong = InvalidArgumentsError(errors=[FieldError(pointer="/arguments/alias", keyword="required")])
    refused = UpstreamRefusedError(mcp_error=json.dumps(examples.REFUSAL).encode())
    assert json.loads(problem_body(wrong, examples.PROBLEM.id)) == golden("problem")["full"]
    assert json.loads(problem_body(refused, examples.PROBLEM.id)) == golden("problem_of_server")["full"]
