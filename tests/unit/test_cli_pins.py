"""`busbar pins`: what is asked of the admin service, and what is said of its answers."""

from typing import Any

import pytest

from services.cli import pins
from services.cli.http_client import Reply
from services.cli.location import Endpoint
from services.cli.main import main

CHANGE: dict[str, Any] = {"acknowledged_by": ["o1", "o2"], "missing": [], "retained": True, "tools": 3}
DIGESTS = {"t": "1" * 64, "u": "2" * 64}


def quarantined(tool: str, digest: str, version: str = "1.0.0", change: str = "changed") -> dict[str, Any]:
    definition = {"name": tool, "description": "says \x1b[31mred\x1b[0m things"}
    return {"tool": tool, "version": version, "change": change, "digest": digest, "definition": definition}


class AdminService:
    """Answers, and keeps what was asked."""

    def __init__(self) -> None:
        self.pins: list[dict[str, Any]] = []
        self.change = dict(CHANGE)
        self.asked: list[tuple[str, str, Any]] = []

    def ask(self, _: Endpoint, method: str, path: str, *, body: object = None, **_more: Any) -> Reply:
        self.asked.append((method, path, body))
        document = {"pins": self.pins} if method == "GET" else self.change
        return Reply(200, "{}", document)


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> AdminService:
    service = AdminService()
    monkeypatch.setattr(pins, "admin_service", lambda _: Endpoint("admin service", ["http://127.0.0.1:1"], "key"))
    monkeypatch.setattr(pins, "ask", service.ask)
    return service


@pytest.mark.parametrize(
    ("command", "asked"),
    [("add", ("POST", "/v1/pins/products", None)), ("remove", ("DELETE", "/v1/pins/products", None))],
)
def test_a_server_is_pinned_and_unpinned(
    admin: AdminService, capsys: pytest.CaptureFixture[str], command: str, asked: tuple[str, str, Any]
) -> None:
    assert main(["pins", command, "products"]) == 0
    assert admin.asked == [asked]
    assert capsys.readouterr().out == "3 tools are pinned; acknowledged by 2 of 2 orchestrators\n"


def test_what_is_in_quarantine_is_listed_and_shown_without_control_characters(
    admin: AdminService, capsys: pytest.CaptureFixture[str]
) -> None:
    admin.pins = [{"server": "products", "tools": 3, "quarantined": [quarantined("t", DIGESTS["t"], change="new")]}]
    assert main(["pins", "list"]) == 0
    assert "t (new, 1.0.0)" in capsys.readouterr().out
    assert main(["pins", "show", "products"]) == 0
    shown = capsys.readouterr().out
    assert DIGESTS["t"] in shown
    assert "\x1b" not in shown


def test_what_was_shown_is_accepted_by_its_digest_and_nothing_else(admin: AdminService) -> None:
    waiting = [quarantined(tool, digest) for tool, digest in DIGESTS.items()]
    admin.pins = [{"server": "products", "tools": 3, "quarantined": waiting}]
    assert main(["pins", "accept", "products", "u"]) == 0
    assert admin.asked[1:] == [("POST", "/v1/pins/products/accept", {"tools": {"u": DIGESTS["u"]}})]
    assert main(["pins", "accept", "products"]) == 0
    assert admin.asked[-1] == ("POST", "/v1/pins/products/accept", {"tools": DIGESTS})


def test_the_definitions_of_two_versions_of_a_tool_are_both_accepted(admin: AdminService) -> None:
    waiting = [quarantined("t", "1" * 64), quarantined("t", "2" * 64, "2.0.0")]
    admin.pins = [{"server": "products", "tools": 3, "quarantined": waiting}]
    assert main(["pins", "accept", "products"]) == 0
    assert {body["tools"]["t"] for _, _, body in admin.asked[1:]} == {"1" * 64, "2" * 64}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["accept", "products", "v"], "not in quarantine: v\n"),
        (["accept", "other"], "the definitions of other are not pinned\n"),
        (["show", "other"], "the definitions of other are not pinned\n"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    admin: AdminService, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    admin.pins = [{"server": "products", "tools": 3, "quarantined": [quarantined("t", DIGESTS["t"])]}]
    assert main(["pins", *arguments]) == 1
    assert capsys.readouterr().err == said
    assert {method for method, _, _ in admin.asked} == {"GET"}


def test_who_does_not_know_of_it_is_named_and_so_is_a_store_that_does_not_have_it(
    admin: AdminService, capsys: pytest.CaptureFixture[str]
) -> None:
    admin.change |= {"missing": ["o3"], "retained": False}
    assert main(["pins", "add", "products"]) == 1
    said = capsys.readouterr().err
    assert "not acknowledged by o3" in said
    assert "the store does not have it" in said
