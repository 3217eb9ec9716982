"""The error table: codes, statuses and meanings are a contract with every caller."""

import pytest

from bus_schemas.errors import ERRORS, ErrorCode

IF_IDEMPOTENT = None

TABLE = {
    "invalid_json": (400, False, "no"),
    "payload_too_large": (413, False, "no"),
    "unsupported_media_type": (415, False, "no"),
    "invalid_request": (422, False, "no"),
    "invalid_arguments": (422, False, "no"),
    "ambiguous_tool": (422, False, "no"),
    "unauthorized": (401, False, "no"),
    "forbidden": (403, False, "no"),
    "server_not_found": (404, False, "no"),
    "tool_not_found": (404, False, "no"),
    "prompt_not_found": (404, False, "no"),
    "rate_limited": (429, True, "no"),
    "overloaded": (503, True, "no"),
    "circuit_open": (503, True, "no"),
    "server_unavailable": (503, True, "no"),
    "maintenance": (503, True, "no"),
    "timeout": (504, IF_IDEMPOTENT, "maybe"),
    "upstream_refused": (502, False, "maybe"),
    "upstream_error": (502, IF_IDEMPOTENT, "maybe"),
    "result_too_large": (502, False, "maybe"),
    "idempotency_conflict": (422, False, "no"),
    "idempotency_unavailable": (503, True, "no"),
    "issuer_unavailable": (503, True, "no"),
    "internal": (500, False, "maybe"),
    # Of tools as plain HTTP alone: elsewhere it is a result.
    "tool_error": (422, False, "maybe"),
    # Of HTTP alone: unknown paths, methods and hosts.
    "not_found": (404, False, "no"),
    "method_not_allowed": (405, False, "no"),
    "misdirected_request": (421, False, "no"),
    # Of the admin service alone.
    "invalid_config": (422, False, "no"),
    "store_unavailable": (503, True, "no"),
    "bus_unavailable": (503, True, "no"),
    "audit_unavailable": (503, True, "no"),
    "worker_not_found": (404, False, "no"),
    "version_not_found": (404, False, "no"),
    "rollout_not_found": (404, False, "no"),
    "rollout_conflict": (409, False, "no"),
    "pin_not_found": (404, False, "no"),
}
"""SPEC §3, row by row: status, retryable, executed."""


def test_the_codes_are_those_of_the_specification() -> None:
    assert {code.value for code in ErrorCode} == set(TABLE)


@pytest.mark.parametrize("code", TABLE)
def test_a_code_means_what_the_specification_says(code: str) -> None:
    meaning = ERRORS[ErrorCode(code)]
    assert (meaning.status, meaning.retryable, meaning.executed) == TABLE[code]


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_a_text_for_callers(code: ErrorCode) -> None:
    meaning = ERRORS[code]
    assert meaning.title
    assert meaning.detail.endswith(".")


def test_what_may_be_sent_again_to_another_worker_certainly_never_ran() -> None:
    assert all(meaning.executed == "no" for meaning in ERRORS.values() if meaning.retryable)
