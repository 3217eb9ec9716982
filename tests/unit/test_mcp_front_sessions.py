"""Session ids say all there is to say, to any replica, and to nobody else."""

from typing import Any

import pytest

from services.orchestrator.mcp.sessions import (
    Seal,
    issue_session,
    read_session,
    relayed_capabilities,
    shared_secret,
)
from services.runtime.auth.principals import ANONYMOUS, Principal

SEAL = Seal("busbar:secret")
OTHER = Principal(id="other", scopes=frozenset({"query"}), servers=("*",), tools=("*",))
CLIENT = {"name": "inspector", "version": "1"}


def issue() -> str:
    return issue_session(SEAL, ANONYMOUS, "2025-06-18", {"roots": {"listChanged": True}, "tasks": {}}, CLIENT)


def test_a_session_is_read_by_every_replica_with_the_same_secret() -> None:
    session = read_session(Seal("busbar:secret"), issue(), ANONYMOUS)
    assert session is not None
    assert (session.version, session.capabilities, session.client) == ("2025-06-18", {"roots": {}}, CLIENT)


def test_two_sessions_of_one_client_are_two() -> None:
    one, other = issue(), issue()
    assert one != other
    digests = {session.digest for token in (one, other) if (session := read_session(SEAL, token, ANONYMOUS))}
    assert len(digests) == 2


def test_it_is_of_no_use_to_another_caller_or_under_another_secret() -> None:
    assert read_session(SEAL, issue(), OTHER) is None
    assert read_session(Seal("busbar:other"), issue(), ANONYMOUS) is None


@pytest.mark.parametrize("token", ["", "x", "ü", "a" * 5000, "AAAA", "====", "\n"])
def test_what_is_no_session_id_is_none(token: str) -> None:
    assert read_session(SEAL, token, ANONYMOUS) is None


def test_a_session_id_that_was_changed_anywhere_is_none() -> None:
    token = issue()
    for at in range(0, len(token) - 1, 7):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert read_session(SEAL, changed, ANONYMOUS) is None


def test_a_seal_for_one_purpose_is_none_for_another() -> None:
    token = SEAL.close(b"one", b"content")
    assert SEAL.open(b"one", token) == b"content"
    assert SEAL.open(b"other", token) is None


def test_a_client_that_says_much_of_itself_is_not_passed_on() -> None:
    token = issue_session(SEAL, ANONYMOUS, "2025-11-25", None, {"name": "x" * 300})
    session = read_session(SEAL, token, ANONYMOUS)
    assert session is not None
    assert (session.client, session.capabilities) == (None, {})


def test_of_capabilities_only_what_we_can_carry_is_passed_on() -> None:
    declared: dict[str, Any] = {
        "elicitation": {"form": {}, "other": {}},
        "sampling": {"tools": {}},
        "experimental": {"x": {}},
    }
    assert relayed_capabilities(declared) == {"elicitation": {"form": {}}, "sampling": {"tools": {}}}
    assert relayed_capabilities([]) == {}


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("nats://user:pass@one:4222,nats://user:pass@two:4222", "user:pass"),
        ("tls://token@host", "token"),
        ("nats://host:4222", ""),
    ],
)
def test_the_secret_is_what_replicas_have_in_common(url: str, secret: str) -> None:
    assert shared_secret(url) == secret
    assert shared_secret(url, "SUSEED") == "SUSEED"
