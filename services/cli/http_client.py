"""One HTTP request to a service, bounded in time and size; what fails is told in one line."""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from services.cli.errors import CommandError, ProblemError
from services.cli.location import Endpoint
from services.runtime.auth.authentication import is_loopback_only
from services.runtime.text import one_line

_CONNECT_TIMEOUT_S = 5.0
_MAX_BYTES = 64 << 20
_MAX_PAGES = 1000


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of a service that holds a JSON object."""

    status: int
    text: str
    document: dict[str, Any]


def ask(
    endpoint: Endpoint,
    method: str,
    path: str,
    *,
    timeout_s: float,
    params: Mapping[str, str] | None = None,
    body: object = None,
    accepts: frozenset[int] = frozenset({200}),
) -> Reply:
    """Ask the first address of `endpoint` that takes the connection; return its answer.

    Args:
        endpoint: whom to ask.
        method: of the request.
        path: of the request, from `/` on.
        timeout_s: for the whole of the answer, in seconds.
        params: of the query string.
        body: sent as JSON, unless it is None.
        accepts: the statuses that are an answer.

    Raises:
        ProblemError: the service answered with a problem object.
        CommandError: no address answers, not in time, or not as Busbar does.
    """
    headers = {"accept": "application/json"}
    if endpoint.key:
        headers["authorization"] = f"Bearer {endpoint.key}"
    for url in endpoint.urls:
        try:
            request = httpx.Request(method, url + path, params=params, json=body, headers=headers)
            status, answer = _exchange(request, timeout_s=timeout_s)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            continue
        except httpx.TimeoutException:
            raise CommandError(f"the {endpoint.name} at {_shown(url)} did not answer within {timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL):
            raise CommandError(f"the {endpoint.name} at {_shown(url)} broke off the connection") from None
        return _reply(f"the {endpoint.name} at {_shown(url)}", status, answer, accepts)
    where = " or ".join(map(_shown, endpoint.urls))
    raise CommandError(f"the {endpoint.name} cannot be reached at {where}; does it run?")


def pages(endpoint: Endpoint, path: str, *, params: Mapping[str, str], timeout_s: float) -> Iterator[dict[str, Any]]:
    """Yield each page of a list, following `next_cursor`; `timeout_s` is for each.

    Raises:
        CommandError: as `ask` does, or the list does not end.
    """
    cursor: str | None = None
    for _ in range(_MAX_PAGES):
        wanted = {**params, **({"cursor": cursor} if cursor else {})}
        page = ask(endpoint, "GET", path, params=wanted, timeout_s=timeout_s).document
        yield page
        cursor = page.get("next_cursor")
        if not isinstance(cursor, str):
            return
    raise CommandError(f"the {endpoint.name} sends a list without an end")


def _exchange(request: httpx.Request, *, timeout_s: float) -> tuple[int, bytes]:
    timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S))
    give_up_at = time.monotonic() + timeout_s
    # A proxy of the environment is for the world outside, never for this machine.
    trust_env = not is_loopback_only([request.url.host])
    with httpx.Client(timeout=timeout, trust_env=trust_env) as client:
        response = client.send(request, stream=True)
        with contextlib.closing(response):
            chunks, received_bytes = [], 0
            for chunk in response.iter_bytes():
                chunks.append(chunk)
                received_bytes += len(chunk)
                if received_bytes > _MAX_BYTES:
                    raise CommandError("the answer is over 64 MiB")
                if time.monotonic() > give_up_at:  # httpx's own limit is for each read
                    raise httpx.ReadTimeout("too late")
            return response.status_code, b"".join(chunks)


def _reply(who: str, status: int, answer: bytes, accepts: frozenset[int]) -> Reply:
    try:
        text = answer.decode()
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise CommandError(f"{who} does not answer as Busbar does (HTTP {status})")
    if status in accepts:
        return Reply(status, text, document)
    code = document.get("code")
    if not isinstance(code, str):
        raise CommandError(f"{who} does not answer as Busbar does (HTTP {status})")
    raise ProblemError(code, problem_line(document))


def problem_line(problem: Mapping[str, Any]) -> str:
    """Return `code: detail (what is wrong) (id …)`, on one line."""
    parts = [f"{problem.get('code')}: {problem.get('detail') or problem.get('title') or ''}"]
    wrong = problem.get("errors")
    if isinstance(wrong, list) and wrong:
        fields = [f"{one.get('pointer') or '/'} {one.get('keyword')}" for one in wrong if isinstance(one, dict)]
        parts.append(f"[{', '.join(fields)}]")
    mcp_error = problem.get("mcp_error")
    if isinstance(mcp_error, dict):
        parts.append(f"The server said: {mcp_error.get('message')}")
    if problem.get("id"):
        parts.append(f"(id {problem['id']})")
    return " ".join(map(one_line, parts))


def _shown(url: str) -> str:
    """Return the address without what may be a secret in it."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
