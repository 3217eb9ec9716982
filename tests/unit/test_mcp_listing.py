"""What is read of a server that offers too much."""

import json
from typing import Any

import pytest

from services.runtime.errors import UpstreamError
from services.worker.mcp import listing
from services.worker.mcp.listing import list_catalogue

pytestmark = pytest.mark.anyio

CAPABILITIES: dict[str, Any] = {"tools": {}, "prompts": {}}


def definition(number: int) -> dict[str, Any]:
    return {"name": f"{number:03}", "description": "x" * 64}


SIZE = len(json.dumps(definition(0)))


class Server:
    """Lists ten definitions on each page."""

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self.asked: list[str] = []

    async def request(self, method: str, params: bytes) -> bytes:
        self.asked.append(method)
        page = int(json.loads(params).get("cursor", "0"))
        member = method.partition("/")[0]
        answer: dict[str, Any] = {member: [definition(10 * page + index) for index in range(10)]}
        if page + 1 < self.pages:
            answer["nextCursor"] = str(page + 1)
        return json.dumps(answer).encode()


def names(definitions: list[dict[str, Any]]) -> list[int]:
    return [int(each["name"]) for each in definitions]


async def test_a_catalogue_within_the_limit_is_whole(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listing, "MAX_CATALOGUE_BYTES", 40 * SIZE)
    found = await list_catalogue(Server(pages=2).request, CAPABILITIES)
    assert (names(found.tools), names(found.prompts)) == (list(range(20)), list(range(20)))
    assert caplog.records == []


async def test_the_end_of_a_catalogue_over_the_limit_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listing, "MAX_CATALOGUE_BYTES", 40 * SIZE - 1)
    found = await list_catalogue(Server(pages=2).request, CAPABILITIES)
    assert (names(found.tools), names(found.prompts)) == (list(range(20)), list(range(19)))
    assert [record.left_out for record in caplog.records] == [1]  # type: ignore[attr-defined]


async def test_no_more_pages_are_asked_for_than_the_limit_lets_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_CATALOGUE_BYTES", 25 * SIZE)
    server = Server(pages=50)
    found = await list_catalogue(server.request, {"tools": {}})
    assert names(found.tools) == list(range(25))
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    "page", [b'{"tools": [{"name": "\\ud800"}]}', b'{"tools": [', b"[]", b'{"tools": 1}', b"\xff", b"[" * 100_000]
)
async def test_a_page_that_cannot_be_announced_is_a_fault_of_the_server(page: bytes) -> None:
    async def request(_method: str, _params: bytes) -> bytes:
        return page

    with pytest.raises(UpstreamError):
        await list_catalogue(request, {})
