"""`busbar config reload`: what is said of a reload."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from services.cli import config
from services.cli.http_client import Reply
from services.cli.location import Endpoint
from services.cli.main import main

QUIET: dict[str, Any] = {
    "applied": True, "added": [], "removed": [], "changed": [], "undeployed": [], "acknowledged_by": [], "missing": []
}  # fmt: skip

Answer = Callable[..., str]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Let the admin service answer so."""
    endpoint = Endpoint("admin service", ["http://127.0.0.1:1"], "key")
    monkeypatch.setattr(config, "admin_service", lambda _: endpoint)

    def answer(status: int, document: dict[str, Any]) -> str:
        def ask(_: Endpoint, method: str, path: str, *, timeout_s: float, accepts: frozenset[int]) -> Reply:
            assert (method, path) == ("POST", "/v1/config/reload")
            assert status in accepts
            return Reply(status, json.dumps(document), document)

        monkeypatch.setattr(config, "ask", ask)
        return json.dumps(document)

    return answer


def test_what_came_went_and_waits_is_said(answer: Answer, capsys: pytest.CaptureFixture[str]) -> None:
    answer(200, {**QUIET, "added": ["b", "c"], "removed": ["d"], "undeployed": ["e"]})
    assert main(["config", "reload"]) == 0
    assert capsys.readouterr().out.splitlines() == ["added: b, c", "removed: d", "undeployed: e", "in force"]


@pytest.mark.parametrize(
    ("applied", "said"), [(True, "in force, but not acknowledged by x"), (False, "nothing was changed")]
)
def test_a_process_that_did_not_answer_is_a_failure(
    answer: Answer, applied: bool, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(504, {**QUIET, "applied": applied, "missing": ["x", "y"]})
    assert main(["config", "reload"]) == 1
    shown = capsys.readouterr()
    assert said in shown.err
    assert "x, y" in shown.err
    assert ("in force" in shown.out) is applied


def test_each_mistake_in_a_file_is_a_line(answer: Answer, capsys: pytest.CaptureFixture[str]) -> None:
    mistakes = [{"pointer": "/servers/a/url", "keyword": "config", "detail": f"servers.a.url: {word}"} for word in "xy"]
    answer(422, {"code": "invalid_config", "errors": mistakes})
    assert main(["config", "reload"]) == 1
    assert capsys.readouterr().err.splitlines() == ["servers.a.url: x", "servers.a.url: y", "nothing was changed"]


def test_json_is_the_answer_as_it_came(answer: Answer, capsys: pytest.CaptureFixture[str]) -> None:
    text = answer(200, QUIET)
    assert main(["config", "reload", "--json"]) == 0
    assert capsys.readouterr().out == text + "\n"
