"""`/openapi.json` of a real orchestrator is true: what it documents is what is answered, whatever is sent."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from bus_schemas.errors import ERRORS, OF_ADMIN, ErrorCode
from tests.support.fleet import OWN_KEY, Fleet, fleet, ledger_server
from tests.support.mcp_servers.raw_http import Request, raw_server

_SECRET = "never-to-be-seen"
_OPERATIONS = {"query": "post", "servers": "get", "tools": "get", "resources": "get", "prompts": "get"}
_EXAMPLES = 60
_TARGETS = [
    {},
    *({"server": "raw", "tool": tool} for tool in ("good", "bad")),
    *({"server": server, "tool": "record"} for server in ("ledger", "away")),
]
_LONGEST_LINE = 2**16


async def _serve(request: Request, _: asyncio.StreamReader) -> None:
    """A server that fails half of its calls with a secret in its words."""
    if request.json["method"] == "tools/list":
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("good", "bad")]
        await request.result(json.dumps({"tools": tools}).encode())
    elif request.json.get("params", {}).get("name") == "good":
        await request.result(b'{"content":[]}')
    else:
        await request.answer(f"Traceback: {_SECRET}".encode(), status=500, kind="text/plain")


@asynccontextmanager
async def _fleet(folder: Path) -> AsyncIterator[Fleet]:
    async with raw_server(_serve) as server:
        config = {
            "raw": {"url": f"{server.url}/{_SECRET}?key={_SECRET}", "headers": {"x-key": _SECRET}},
            "ledger": ledger_server(folder / "ledger.jsonl"),
            "away": {"url": f"http://127.0.0.1:1/{_SECRET}"},
        }
        async with fleet(config, workers={"raw": 1, "ledger": 1}, keys={}) as running:
            yield running


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    # In a thread of its own: schemathesis runs tests that are not async.
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_fleet(tmp_path_factory.mktemp("openapi"))) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def api(running: Fleet) -> Any:
    config = SchemathesisConfig.from_dict({"auth": {"openapi": {"key": {"bearer": running.keys[OWN_KEY]}}}})
    return schemathesis.openapi.from_url(f"{running.urls[0]}/openapi.json", config=config)


@pytest.fixture(scope="module")
def document(api: Any) -> Any:
    return api.raw_schema


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", _OPERATIONS)
def test_whatever_is_sent_the_answer_is_a_documented_one_and_no_fault_of_ours(
    api: Any, operation: str, mode: GenerationMode
) -> None:
    # Not schemathesis's own parametrization of a schema from a fixture: it reaches into pytest's private parts.
    described = api[f"/v1/{operation}"][_OPERATIONS[operation]]

    @given(described.as_strategy(generation_mode=mode), st.sampled_from(_TARGETS))
    @settings(max_examples=_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    def ask(case: Any, target: dict[str, str]) -> None:
        if isinstance(case.body, dict) and "tool" in case.body:
            case.body |= target
        _check_answer(case)

    ask()


def _check_answer(case: Any) -> None:
    response = case.call()
    # A server may be away (503) or break (502), a cursor or an argument be wrong in ways that no schema says (422):
    # these are documented. A request line over 64 KB does not get past the HTTP parser.
    if response.status_code == 400 and len(response.request.url) > _LONGEST_LINE:
        return
    case.validate_response(response, excluded_checks=[not_a_server_error, positive_data_acceptance])
    assert response.status_code not in {500, 501}, response.text
    _check_words(response.text + str(response.headers))
    if response.status_code >= 400:
        problem = response.json()
        assert problem["detail"] == ERRORS[ErrorCode(problem["code"])].detail


def test_neither_a_fault_nor_a_secret_was_logged(running: Fleet) -> None:
    logs = running.logs()
    assert '"level": "error"' not in logs
    _check_words(logs)


def test_every_operation_declares_its_errors_with_an_example_of_each_code(document: Any) -> None:
    operations = {
        path.removeprefix("/v1/"): operation
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if path.startswith("/v1/")
    }
    assert set(operations) == set(_OPERATIONS)
    for operation in operations.values():
        declared = {
            code
            for status, response in operation["responses"].items()
            if int(status) >= 400
            for code, example in response["content"]["application/problem+json"]["examples"].items()
            if example["value"]["status"] == int(status)
        }
        assert {"unauthorized", "forbidden", "invalid_request", "misdirected_request", "internal"} <= declared
        assert operation["security"] == [{"key": []}]
    every = set(ErrorCode) - {ErrorCode.NOT_FOUND, ErrorCode.METHOD_NOT_ALLOWED, ErrorCode.TOOL_ERROR, *OF_ADMIN}
    told = [
        response["content"].get("application/problem+json", {})
        for response in operations["query"]["responses"].values()
    ]
    assert {code for content in told for code in content.get("examples", {})} == every


def test_every_reference_and_key_of_the_document_is_defined_in_it(document: Any) -> None:
    for reference in _references(document):
        target = document
        assert reference.startswith("#/")
        for part in reference[2:].split("/"):
            target = target[part]
    assert set(document["components"]["securitySchemes"]) == {"key"}


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            yield reference
        for child in node.values():
            yield from _references(child)
    elif isinstance(node, list):
        for child in node:
            yield from _references(child)


def _check_words(text: str) -> None:
    for word in (_SECRET, "Traceback", "127.0.0.1:1/", "ledger_server", ".py"):
        assert word not in text, text
