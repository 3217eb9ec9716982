"""`/openapi.json` of a real admin service is true: what it documents is what is answered, whatever is sent."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from bus_schemas.errors import ERRORS, ErrorCode
from tests.support.admin import BOSS, Admin, admins
from tests.support.fleet import fleet
from tests.support.servers import valkey_server

_SECRET = "never-to-be-seen"
_EXAMPLES = 30
_EXAMPLES_OF_A_RELOAD = 5
"""It takes no argument, and a second."""
_LONGEST_URL = 32_768
_NO_FAULT = "server_unavailable"
"""Nobody announces the server now: told of what needs a live worker, and no fault of the service."""
"""What is much longer is no HTTP to uvicorn, which answers that itself."""
_ALWAYS = {"unauthorized", "forbidden", "misdirected_request", "internal"}
_CHANGING = {*_ALWAYS, "bus_unavailable", "audit_unavailable", "invalid_request"}
_WITH_BODY = {*_CHANGING, "invalid_json", "payload_too_large", "unsupported_media_type", "timeout", "server_not_found"}
_OF_ROLLOUTS = {*_ALWAYS, "store_unavailable"}
_OF_A_ROLLOUT = {*_OF_ROLLOUTS, "invalid_request", "rollout_not_found"}
_CHANGING_A_ROLLOUT = {*_OF_A_ROLLOUT, *_CHANGING, "rollout_conflict"}
_OF_THE_CACHE = {*_ALWAYS, "store_unavailable", "bus_unavailable", "audit_unavailable"}
_OPERATIONS = {
    ("get", "/v1/servers"): _ALWAYS,
    ("get", "/v1/workers"): _ALWAYS,
    ("get", "/v1/breakers"): {*_ALWAYS, "bus_unavailable"},
    ("post", "/v1/workers/{instance}/drain"): {*_CHANGING, "worker_not_found", "timeout"},
    ("post", "/v1/servers/{server}/maintenance"): _WITH_BODY,
    ("delete", "/v1/servers/{server}/maintenance"): {*_CHANGING, "server_not_found"},
    ("post", "/v1/breakers/{server}/isolate"): _WITH_BODY,
    ("post", "/v1/breakers/{server}/reset"): _WITH_BODY,
    ("post", "/v1/config/reload"): {*_ALWAYS, "bus_unavailable", "audit_unavailable", "invalid_config"},
    ("get", "/v1/cache"): _OF_THE_CACHE,
    ("delete", "/v1/cache"): _OF_THE_CACHE,
    ("delete", "/v1/cache/{server}"): {*_OF_THE_CACHE, "invalid_request", "server_not_found"},
    ("delete", "/v1/cache/{server}/{tool}"): {*_OF_THE_CACHE, "invalid_request", "server_not_found"},
    ("get", "/v1/pins"): _ALWAYS,
    ("post", "/v1/pins/{server}"): {*_CHANGING, "server_not_found", "server_unavailable"},
    ("post", "/v1/pins/{server}/accept"): {*(_WITH_BODY - {"server_not_found"}), "pin_not_found"},
    ("delete", "/v1/pins/{server}"): {*_CHANGING, "pin_not_found"},
    ("get", "/v1/rollouts"): _OF_ROLLOUTS,
    ("get", "/v1/rollouts/{id}"): _OF_A_ROLLOUT,
    ("post", "/v1/rollouts"): {*_OF_ROLLOUTS, *_WITH_BODY, "rollout_conflict", "version_not_found"},
    **{
        ("post", f"/v1/rollouts/{{id}}/{order}"): _CHANGING_A_ROLLOUT
        for order in ("pause", "resume", "promote", "rollback")
    },
}
"""Of each operation the codes that it may answer."""


@asynccontextmanager
async def _admin() -> AsyncIterator[tuple[Admin, str]]:
    """An admin service, and its key; its fleet has a store, and neither workers nor orchestrators."""
    config = {"files": {"url": f"http://127.0.0.1:1/{_SECRET}"}}
    async with (
        valkey_server() as store,
        fleet(config, orchestrators=0, workers={}, keys=BOSS, store=store) as running,
        admins(running) as (desk,),
    ):
        yield desk, running.keys["boss"]


@pytest.fixture(scope="module")
def desk() -> Iterator[tuple[Admin, str]]:
    # In a thread of its own: schemathesis runs tests that are not async.
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_admin()) as running:
        yield running


@pytest.fixture(scope="module")
def api(desk: tuple[Admin, str]) -> Any:
    admin, key = desk
    config = SchemathesisConfig.from_dict({"auth": {"openapi": {"key": {"bearer": key}}}})
    return schemathesis.openapi.from_url(f"{admin.url}/openapi.json", config=config)


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), _OPERATIONS, ids=" ".join)
def test_whatever_is_sent_the_answer_is_a_documented_one_and_no_fault_of_ours(
    api: Any, method: str, path: str, mode: GenerationMode
) -> None:
    described = api[path][method]
    examples = _EXAMPLES_OF_A_RELOAD if path == "/v1/config/reload" else _EXAMPLES

    @given(described.as_strategy(generation_mode=mode), st.booleans())
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    def ask(case: Any, is_known: bool) -> None:
        if is_known and "{server}" in path:
            case.path_parameters["server"] = "files"
        if is_known and isinstance(case.body, dict) and "server" in case.body:
            case.body["server"] = "files"
        if len(quote(str(case.path_parameters.get("tool", "")))) <= _LONGEST_URL:
            _check_answer(case)

    ask()


def _check_answer(case: Any) -> None:
    response = case.call()
    # A moment may be over, which no schema says.
    case.validate_response(response, excluded_checks=[not_a_server_error, positive_data_acceptance])
    assert _SECRET not in response.text
    if response.status_code >= 400:
        problem = response.json()
        assert response.status_code < 500 or problem["code"] == _NO_FAULT, response.text
        assert problem["detail"] == ERRORS[ErrorCode(problem["code"])].detail


def test_neither_a_fault_nor_a_secret_was_logged(desk: tuple[Admin, str]) -> None:
    admin, _ = desk
    logs = admin.process.stdout() + admin.process.stderr()
    assert '"level": "error"' not in logs
    assert _SECRET not in logs


@pytest.mark.parametrize(("method", "path"), _OPERATIONS, ids=" ".join)
def test_an_operation_declares_each_of_its_errors_with_an_example(api: Any, method: str, path: str) -> None:
    operation = api.raw_schema["paths"][path][method]
    declared = {
        code
        for status, response in operation["responses"].items()
        if int(status) >= 400 and "application/problem+json" in response["content"]
        for code, example in response["content"]["application/problem+json"]["examples"].items()
        if example["value"]["status"] == int(status)
    }
    assert declared == _OPERATIONS[method, path]
    assert operation["security"] == [{"key": []}]
    if method != "get" and "{server}" in path:
        assert operation["responses"]["504"]["content"]["application/json"]["schema"]
