"""docs/asyncapi.json: current, complete, and true of what is sent."""

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from bus_schemas import asyncapi, envelope, subjects
from bus_schemas.errors import ErrorCode
from services.runtime.bus.discovery import EndpointStats, ServiceFace

DOCUMENT = asyncapi.document()
MESSAGES = DOCUMENT["components"]["messages"]


def validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """Validate as the document does: references lead into its components."""
    return jsonschema_rs.validator_for({**schema, "components": DOCUMENT["components"]}, offline=True)


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from nodes(inner)


def target(reference: str) -> Any:
    found: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def check(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bus_schemas.asyncapi", "--check", "--file", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_the_committed_document_is_current() -> None:
    assert json.loads(asyncapi.PATH.read_bytes()) == DOCUMENT
    assert check(asyncapi.PATH).returncode == 0


@pytest.mark.parametrize("content", [None, "{}"], ids=["missing", "old"])
def test_a_document_that_is_not_current_fails_the_check_with_one_line(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "asyncapi.json"
    if content is not None:
        path.write_text(content)
    checked = check(path)
    assert checked.returncode == 1
    assert checked.stdout == ""
    assert checked.stderr == "asyncapi.json is not what bus_schemas says: run `make schemas`\n"


def test_every_reference_leads_somewhere() -> None:
    references = [node["$ref"] for node in nodes(DOCUMENT) if "$ref" in node]
    assert references
    for reference in references:
        assert target(reference)


def test_every_subject_has_a_channel() -> None:
    expected = {subjects.QUERY, subjects.CACHE_EVENTS, subjects.BREAKERS, subjects.ROLLOUTS, subjects.MAINTENANCE}
    expected |= {subjects.CONFIG, subjects.WORKER_CONFIG, subjects.SUPERVISOR, subjects.CLIENT_EVENTS, subjects.PINS}
    for name, build in inspect.getmembers(subjects, inspect.isfunction):
        if build.__module__ == subjects.__name__ and name not in ("call_queue", "service_verb"):
            parameters = inspect.signature(build).parameters
            expected.add(
                build(**{parameter: f"{{{parameter}}}" for parameter in parameters}).replace(
                    "{version}", "{version_token}"
                )
            )
    expected |= {"$SRV.{verb}", "$SRV.{verb}.{server}", "$SRV.{verb}.{server}.{instance}"}
    assert {channel["address"] for channel in DOCUMENT["channels"].values()} - {None} == expected


def test_every_parameter_of_an_address_is_described() -> None:
    for channel in DOCUMENT["channels"].values():
        assert set(re.findall(r"{(\w+)}", channel["address"] or "")) == set(channel.get("parameters", {}))


def test_the_queue_groups_are_those_of_the_services() -> None:
    queues = {
        name: operation["bindings"]["nats"]["queue"]
        for name, operation in DOCUMENT["operations"].items()
        if "bindings" in operation
    }
    assert queues == {"answerQuery": "orchestrator", "answerCall": "{server}.{version_token}"}


def test_every_header_of_the_envelope_is_described() -> None:
    of_envelope = {value for name, value in vars(envelope).items() if name.isupper()}
    headers = [message["headers"] for message in MESSAGES.values() if "headers" in message]
    described = {name for schema in headers for name in schema["properties"]}
    described |= {pattern.removeprefix("^") for schema in headers for pattern in schema.get("patternProperties", {})}
    assert of_envelope <= described


def test_every_error_code_is_listed() -> None:
    assert [row["code"] for row in DOCUMENT["x-error-codes"]] == [code.value for code in ErrorCode]


@pytest.mark.parametrize("name", sorted(name for name, message in MESSAGES.items() if "examples" in message))
def test_the_examples_of_a_message_fit_its_schemas(name: str) -> None:
    for example in MESSAGES[name]["examples"]:
        for part in example:
            validator(MESSAGES[name][part]).validate(example[part])


@pytest.mark.parametrize("name", ["worker_joined", "worker_left", "drain_worker"])
def test_an_event_or_order_without_its_tag_does_not_fit_the_schema(name: str) -> None:
    payload = MESSAGES[name]["examples"][0]["payload"]
    without_tag = {field: value for field, value in payload.items() if field not in ("event", "order")}
    assert not validator(MESSAGES[name]["payload"]).is_valid(without_tag)


@pytest.mark.parametrize("verb", ["PING", "INFO", "STATS"])
def test_workers_answer_discovery_as_described(verb: str) -> None:
    face = ServiceFace(
        name="database_mcp",
        version="1.0.0",
        instance="q7x2m9c4k1vd",
        description="A worker",
        subject=subjects.call("database_mcp", "1.0.0"),
        queue=subjects.call_queue("database_mcp", "1.0.0"),
        started_at=1_705_744_800.0,
        stats=EndpointStats(requests=3),
    )
    answer = face.answer(verb)
    validator(MESSAGES[f"discovery_{verb.lower()}"]["payload"]).validate(answer)


def test_no_real_host_is_named() -> None:
    assert [server["host"] for server in DOCUMENT["servers"].values()] == ["{nats_host}"]
    assert "://" not in json.dumps(DOCUMENT).replace("product-aliases://", "")
