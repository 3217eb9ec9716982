"""Release N works with N−1: each reads what the other writes, by the tagged message set in `releases/`."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from bus_schemas import asyncapi, envelope
from bus_schemas.calls import progress_headers
from bus_schemas.examples import INSTANCE
from tests.contract.differences import differences
from tests.contract.message_set import Document, MessageSet, cut
from tests.contract.test_golden_messages import SAMPLES, encoded, golden

BEFORE = MessageSet.of_release_before()
NOW = asyncapi.document()

# A reader of a message's payload or headers, by the message's name in the document.
PAYLOADS = {name: sample.decode for name, sample in SAMPLES.items() if not name.endswith("_headers")}
PAYLOADS["breaker_changed"] = PAYLOADS["breaker_opened"]
HEADERS = {
    name.removesuffix("_headers"): sample.decode for name, sample in SAMPLES.items() if name.endswith("_headers")
}

Reading = tuple[Callable[[Any], object], Document, Any]

READINGS: dict[str, Reading] = {
    f"{name}-{part}-{number}": (readers[name], message[part], example[part])
    for readers, part in ((PAYLOADS, "payload"), (HEADERS, "headers"))
    for name, message in BEFORE.messages.items()
    for number, example in enumerate(message.get("examples", ()), 1)
    if part in example and name in readers
}
"""How today's code reads each example of the release before, the schema it was written by, and the example."""

READ_AS_THEY_ARE = {"accepted", "discover", "discovery_ping", "discovery_info", "discovery_stats"}
"""Without a model: a header or two, or a name and an id, are picked out of them."""


PASSED_ON = {"call payload.method may be completion/complete"}
"""Workers of the release before give a call's method to their server as it is."""


def test_every_message_of_the_release_before_has_a_reader() -> None:
    assert BEFORE.messages.keys() - READ_AS_THEY_ARE <= PAYLOADS.keys() | HEADERS.keys()


@pytest.mark.parametrize("reading", READINGS)
def test_what_the_release_before_writes_is_read_and_nothing_of_it_is_passed_over(reading: str) -> None:
    decode, schema, example = READINGS[reading]
    assert cut(schema, encoded(decode(example))) == example


@pytest.mark.parametrize("reading", [reading for reading in READINGS if not reading.startswith("query")])
def test_what_the_release_before_may_leave_out_may_be_missing(reading: str) -> None:
    decode, schema, example = READINGS[reading]
    least = cut(schema, example, to_required=True)
    assert cut(schema, encoded(decode(least)), to_required=True) == least


def test_all_that_the_release_before_reads_is_written_as_it_was() -> None:
    """But for `query`: whoever writes that is of no release of ours."""
    found = {difference for difference in differences(BEFORE, MessageSet(NOW)) if not difference.startswith("query ")}
    assert found - PASSED_ON == set()


def test_the_queue_groups_of_the_release_before_are_shared_with_it() -> None:
    queues = [
        {name: one["bindings"]["nats"]["queue"] for name, one in document["operations"].items() if "bindings" in one}
        for document in (BEFORE.document, NOW)
    ]
    assert queues[0].items() <= queues[1].items()


def _heartbeat(document: Document) -> Document:
    schema: Document = document["components"]["schemas"]["WorkerHeartbeat"]
    return schema


def _rename_a_field(document: Document) -> None:
    fields = _heartbeat(document)["properties"]
    fields["running"] = fields.pop("in_flight")


def _stop_requiring_a_field(document: Document) -> None:
    _heartbeat(document)["required"].remove("sent_at")


def _retype_a_field(document: Document) -> None:
    _heartbeat(document)["properties"]["started_at"] = {"type": "string"}


def _add_a_state(document: Document) -> None:
    document["components"]["schemas"]["WorkerState"]["enum"].append("resting")


def _loosen_a_name(document: Document) -> None:
    del _heartbeat(document)["properties"]["instance"]["pattern"]


def _rename_a_header(document: Document) -> None:
    headers = document["components"]["messages"]["call"]["headers"]
    headers["properties"]["mcp-sent"] = headers["properties"].pop(envelope.SENT_AT)


def _move_a_subject(document: Document) -> None:
    document["channels"]["cancel"]["address"] = "mcp.v2.cancel.{server}"


def _drop_an_event(document: Document) -> None:
    del document["channels"]["worker_event"]["messages"]["worker_left"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_rename_a_field, "worker_heartbeat payload.in_flight is gone"),
        (_stop_requiring_a_field, "worker_heartbeat payload.sent_at may be missing"),
        (_retype_a_field, "worker_heartbeat payload.started_at has lost its type 'number'"),
        (_add_a_state, "worker_heartbeat payload.state may be resting"),
        (_loosen_a_name, "worker_heartbeat payload.instance has lost its pattern"),
        (_rename_a_header, "call headers.mcp-sent-at is gone"),
        (_move_a_subject, "the channel cancel is elsewhere"),
        (_drop_an_event, "the channel worker_event does not carry worker_left any more"),
    ],
    ids=lambda one: one.__name__.strip("_") if callable(one) else "",
)
def test_a_change_that_the_release_before_could_not_read_is_found(
    change: Callable[[Document], None], told: str
) -> None:
    changed = copy.deepcopy(NOW)
    change(changed)
    assert any(difference.startswith(told) for difference in differences(BEFORE, MessageSet(changed)))


def sent(name: str) -> bytes:
    """The payload of a golden file, as this release sends it."""
    return json.dumps(golden(name)["full"]).encode()


def test_fields_that_the_release_before_does_not_know_are_cut_off() -> None:
    heartbeat = {**golden("worker_heartbeat")["full"], "added": {"since": 2}}
    known = BEFORE.known("mcp.v1.event.worker.database_mcp.q7x2m9c4k1vd", None, json.dumps(heartbeat).encode())
    assert known is not None
    assert not known.is_whole
    assert json.loads(known.payload).keys() == BEFORE.messages["worker_heartbeat"]["examples"][0]["payload"].keys()


def test_fields_inside_of_fields_are_cut_off_and_definitions_of_servers_are_not() -> None:
    joined = golden("worker_joined")["full"]
    joined["offers"]["added"] = []
    joined["offers"]["tools"][0]["added"] = True
    known = BEFORE.known("_INBOX_orchestrator.c4k1vdq7x2m9.r.1", None, json.dumps(joined).encode())
    assert known is not None
    offers = json.loads(known.payload)["offers"]
    assert "added" not in offers
    assert offers["tools"][0]["added"] is True


def test_headers_that_the_release_before_does_not_know_are_cut_off_and_the_payload_is_not_touched() -> None:
    headers = {**golden("call_headers")["full"], "added": "x"}
    body = b'{"method":  "tools/call", "params": {"name": "resolve_product"}}'
    known = BEFORE.known("mcp.v1.call.database_mcp.1_0_0", headers, body)
    assert known is not None
    assert known.headers is not None
    assert known.headers.keys() == BEFORE.messages["call"]["examples"][0]["headers"].keys()
    assert known.payload == body


@pytest.mark.parametrize("name", ["result", "error", "chunk"])
def test_replies_that_the_release_before_knows_are_told_apart_by_their_headers(name: str) -> None:
    headers = golden(f"{name}_headers")["full"]
    known = BEFORE.known("_INBOX_orchestrator.c4k1vdq7x2m9.r.1", headers, b"{}")
    assert known is not None
    assert (known.name, known.headers, known.is_whole) == (name, headers, True)


def test_what_the_release_before_does_not_know_at_all_is_no_message_to_it() -> None:
    later = MessageSet(_without_progress(NOW))
    assert later.known("_INBOX_orchestrator.c4k1vdq7x2m9.r.1", progress_headers(INSTANCE), b"{}") is None
    order = b'{"order": "dance"}'
    assert BEFORE.known("mcp.v1.control.database_mcp.q7x2m9c4k1vd", None, order) is None
    assert not BEFORE.has_subject("mcp.v2.call.database_mcp")


def _without_progress(document: Document) -> Document:
    document = copy.deepcopy(document)
    for channel in document["channels"].values():
        channel["messages"].pop("progress", None)
        channel["messages"].pop("query_progress", None)
    return document
