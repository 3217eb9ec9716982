"""Who is let into the admin service: every operation, with every kind of key and with the console's cookie."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import httpx
import pytest

from bus_schemas.errors import ERRORS, ErrorCode
from services.runtime.auth.keys import revoke_key
from tests.support.admin import BOSS, Admin, admins
from tests.support.fleet import OWN_KEY, Fleet, fleet
from tests.support.processes import RunningProcess
from tests.support.servers import ValkeyServer, valkey_server

pytestmark = pytest.mark.anyio

KEYS: Final = {
    **BOSS,
    "deputy": {"scopes": ["admin"]},
    "late": {"scopes": ["admin"], "expires": "2020-01-01T00:00:00Z"},
}
ORIGIN: Final = {"sec-fetch-site": "same-origin"}


@asynccontextmanager
async def world(store: ValkeyServer, count: int = 1) -> AsyncIterator[tuple[Fleet, list[Admin]]]:
    """A fleet of nobody, with admin services."""
    config = {"files": {"url": "http://127.0.0.1:1/mcp"}}
    async with fleet(config, orchestrators=0, workers={}, keys=KEYS, store=store) as running:
        async with admins(running, count) as desks:
            yield running, desks


@asynccontextmanager
async def visiting(desk: Admin) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that has never been there."""
    async with httpx.AsyncClient(base_url=desk.url, trust_env=False, timeout=20, headers=ORIGIN) as browser:
        yield browser


async def log_in(browser: httpx.AsyncClient, key: str) -> httpx.Response:
    return await browser.post("/console/log-in", data={"key": key})


async def csrf_token(browser: httpx.AsyncClient) -> str:
    """The token of whoever is logged in, as a form has it."""
    form = await browser.get("/console/orders/clear-cache")
    found = re.search(r'name="csrf_token" value="(\w+)"', form.text)
    assert found, form.text
    return found.group(1)


def outcomes(desk: Admin) -> list[tuple[str | None, str, str]]:
    """Who tried what, and what became of it."""
    return [(entry["who"], entry["action"], entry["outcome"]) for entry in desk.audited()]


async def operations(desk: Admin) -> list[tuple[str, str]]:
    """Method and path of every operation under /v1, as the OpenAPI document has them."""
    paths: dict[str, Any] = (await desk.get("/openapi.json"))["paths"]
    named = {"server": "files", "tool": "read", "instance": "abcdefghijkl", "id": "x"}
    return [
        (method.upper(), path.format(**named))
        for path, methods in paths.items()
        if path.startswith("/v1")
        for method in methods
    ]


async def test_without_a_good_key_every_operation_is_refused_does_nothing_and_leaves_one_line() -> None:
    async with valkey_server() as store, world(store) as (running, (desk,)), visiting(desk) as client:
        kinds: dict[str, tuple[dict[str, str], int, str | None]] = {
            "no key": ({}, 401, None),
            "a query key": ({"authorization": f"Bearer {running.keys[OWN_KEY]}"}, 403, OWN_KEY),
            "a bad key": ({"authorization": "Bearer bb_nobody"}, 401, None),
            "an expired key": ({"authorization": f"Bearer {running.keys['late']}"}, 401, None),
        }
        every = await operations(desk)
        assert len(every) >= 18
        for method, path in every:
            for kind, (headers, status, who) in kinds.items():
                before = len(desk.audited())
                answer = await client.request(method, path, headers=headers, content=b"{" if method == "POST" else None)
                assert answer.status_code == status, (method, path, kind)
                (line,) = desk.audited()[before:]
                assert (line["who"], line["outcome"]) == (who, answer.json()["code"]), (method, path, kind)
                assert line["id"] == answer.json()["id"]
        keys = list(running.keys.values())
        assert not any(key in desk.audit_file.read_text() for key in keys)
        assert {server["maintenance"] for server in (await desk.get("/v1/servers"))["servers"]} == {None}


async def test_a_log_in_opens_the_console_and_the_api_and_is_audited() -> None:
    async with valkey_server() as store, world(store) as (running, (desk,)), visiting(desk) as browser:
        assert "Admin key" in (await browser.get("/")).text
        for key, status in (("bb_nobody", 401), (running.keys["late"], 401), (running.keys[OWN_KEY], 403)):
            answer = await log_in(browser, key)
            assert (answer.status_code, len(browser.cookies)) == (status, 0), answer.text
            assert "Admin key" in answer.text
        answer = await log_in(browser, running.keys["boss"])
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"].lower()
        assert {"httponly", "samesite=strict", "path=/"} <= {part.strip() for part in cookie.split(";")}
        assert running.keys["boss"] not in cookie
        assert "Log out" in (await browser.get("/")).text
        assert (await browser.get("/v1/workers")).status_code == 200
        assert [line for line in outcomes(desk) if line[1] == "log_in"] == [
            (None, "log_in", "unauthorized"),
            (None, "log_in", "unauthorized"),
            (OWN_KEY, "log_in", "forbidden"),
            ("boss", "log_in", "done"),
        ]


async def test_over_https_the_cookie_is_for_https_and_for_this_host_alone() -> None:
    async with valkey_server() as store, world(store) as (running, (desk,)), visiting(desk) as browser:
        proxied = {"x-forwarded-proto": "https"}
        answer = await browser.post("/console/log-in", data={"key": running.keys["boss"]}, headers=proxied)
        name, _, rest = answer.headers["set-cookie"].partition("=")
        assert name.startswith("__Host-")
        assert "secure" in rest.lower()
        value = rest.partition(";")[0]
        planted = await browser.get("/", headers={**proxied, "cookie": f"{name.removeprefix('__Host-')}={value}"})
        assert "Admin key" in planted.text
        assert "Log out" in (await browser.get("/", headers={**proxied, "cookie": f"{name}={value}"})).text


async def test_a_change_by_the_cookie_needs_our_own_page_and_its_token() -> None:
    async with valkey_server() as store, world(store) as (running, (desk,)), visiting(desk) as browser:
        await log_in(browser, running.keys["boss"])
        token = await csrf_token(browser)
        refused: list[dict[str, str]] = [
            {},
            {"x-csrf-token": "0" * 64},
            {"x-csrf-token": token, "sec-fetch-site": "cross-site"},
            {"x-csrf-token": token, "sec-fetch-site": "same-site"},
            {"x-csrf-token": token, "origin": "https://elsewhere.example"},
        ]
        for headers in refused:
            answer = await browser.delete("/v1/cache", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), headers
        form = await browser.post("/console/orders/clear-cache", data={"csrf_token": "0" * 64})
        assert form.status_code == 403
        assert not [line for line in outcomes(desk) if line[2] in ("attempted", "done") and line[1] == "clear_cache"]

        assert (await browser.delete("/v1/cache", headers={"x-csrf-token": token})).status_code == 200
        answer = await browser.post("/console/orders/clear-cache", data={"csrf_token": token})
        assert (answer.status_code, answer.headers["location"]) == (303, "/#cache")
        assert outcomes(desk)[-1] == ("boss", "clear_cache", "done")
        assert "The cache is flushed." in (await browser.get("/")).text


@pytest.mark.parametrize("path", ["/console/log-in", "/console/log-out"])
async def test_a_page_of_another_site_logs_nobody_in_or_out(path: str) -> None:
    async with valkey_server() as store, world(store) as (running, (desk,)), visiting(desk) as browser:
        await log_in(browser, running.keys["boss"])
        for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://elsewhere.example"}):
            answer = await browser.post(path, data={"key": running.keys["deputy"]}, headers=headers)
            assert answer.status_code == 403
        assert ">boss<" in (await browser.get("/")).text


async def test_a_session_is_known_to_every_replica_and_ends_at_all_of_them() -> None:
    async with valkey_server() as store, world(store, 2) as (running, (one, other)):
        async with visiting(one) as here, visiting(other) as there:
            await log_in(here, running.keys["boss"])
            there.cookies = here.cookies
            assert (await there.get("/v1/workers")).status_code == 200
            await one.process.kill()
            token = await csrf_token(there)
            assert (await there.delete("/v1/cache", headers={"x-csrf-token": token})).status_code == 200
            cookies = dict(there.cookies)
            assert (await there.post("/console/log-out")).status_code == 303
            there.cookies = httpx.Cookies(cookies)
            assert (await there.get("/v1/workers")).status_code == 401
            assert "Admin key" in (await there.get("/")).text


async def test_while_the_store_is_away_whoever_is_logged_in_goes_on_and_sees_what_there_is() -> None:
    async with valkey_server() as store, world(store) as (running, (desk,)), visiting(desk) as browser:
        await log_in(browser, running.keys["boss"])
        await store.kill()
        page = await browser.get("/")
        assert page.status_code == 200
        assert "The store does not answer" in page.text
        assert (await log_in(browser, running.keys["deputy"])).status_code == 303
        assert ">deputy<" in (await browser.get("/")).text


async def test_a_session_ends_with_its_key() -> None:
    async with valkey_server() as store, world(store) as (running, (desk,)), visiting(desk) as browser:
        await log_in(browser, running.keys["deputy"])
        assert (await browser.get("/v1/workers")).status_code == 200
        revoke_key(running.folder / "keys.jsonl", "deputy")
        with anyio.fail_after(15):
            while (await browser.get("/v1/workers")).status_code != 401:
                await anyio.sleep(0.1)
        assert (await browser.get("/console/events")).status_code == 401


async def test_every_page_tells_browsers_to_let_nothing_in_and_to_keep_nothing() -> None:
    async with valkey_server() as store, world(store) as (running, (desk,)), visiting(desk) as browser:
        pages = [await browser.get("/"), await log_in(browser, "bb_nobody")]
        await log_in(browser, running.keys["boss"])
        pages += [await browser.get("/"), await browser.get("/console/orders/isolate-server?server=files")]
        for page in pages:
            policy = page.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert page.headers["x-content-type-options"] == "nosniff"
            assert page.headers["cache-control"] == "no-store"
            assert not re.search(r"<style|\sstyle=|<script>|\son\w+=|(?:src|href)=\"(?:https?:)?//", page.text)
        for url in set(re.findall(r'"(/console/static/[^"]+)"', pages[2].text)):
            assert "immutable" in (await browser.get(url)).headers["cache-control"]


async def test_live_updates_are_told_panel_by_panel_and_end_with_the_service() -> None:
    async with valkey_server() as store, world(store) as (running, (desk,)), visiting(desk) as browser:
        await log_in(browser, running.keys["boss"])
        async with browser.stream("GET", "/console/events") as events:
            assert events.headers["content-type"].startswith("text/event-stream")
            lines = events.aiter_lines()
            seen = set()
            with anyio.fail_after(15):
                async for line in lines:
                    if line.startswith("data: "):
                        seen.add(json.loads(line.removeprefix("data: "))["name"])
                    if seen >= {"summary", "fleet", "rollouts", "traffic", "breakers", "cache", "audit"}:
                        break
            assert await _stopped(desk.process) == 0


async def test_what_there_is_not_is_not_found() -> None:
    async with valkey_server() as store, world(store) as (running, (desk,)), visiting(desk) as browser:
        await log_in(browser, running.keys["boss"])
        for path in ("/console/orders/format-disk", "/console/static/..%2Fpages.py", "/console/static/nothing.js"):
            assert (await browser.get(path)).status_code == 404
        wrong = await browser.post(
            "/console/orders/isolate-server?server=nobody",
            data={"csrf_token": await csrf_token(browser), "reason": "x", "for_s": "5"},
        )
        assert wrong.status_code == 404
        assert ERRORS[ErrorCode.SERVER_NOT_FOUND].detail in wrong.text


async def _stopped(process: RunningProcess) -> int:
    with anyio.fail_after(15):
        return await process.terminate()
