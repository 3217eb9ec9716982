"""HTTP, with the console's cookie: the log-in, the page, orders and live updates → board, api_calls."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse

from bus_schemas.errors import ERRORS, ErrorCode
from services.admin.access import LoggedIn
from services.admin.audit import DONE, Attempt, AuditUnwritableError
from services.admin.console.answers import Refusal, notice, refusal
from services.admin.console.api_calls import ask_api
from services.admin.console.browsers import PAGE_HEADERS
from services.admin.console.cookies import SESSION, drop_cookie, set_cookie
from services.admin.console.forms import operation_body, operation_path, read_form
from services.admin.console.notices import drop_notice, read_notice, send_notice
from services.admin.console.orders import ORDERS, Order
from services.admin.console.origins import is_same_origin
from services.admin.console.stream import panels_as_they_change
from services.admin.state import state_of
from services.runtime.errors import ForbiddenError, QueryError, UnauthorizedError
from services.runtime.http import PathNotFoundError
from services.runtime.ids import new_id

log = logging.getLogger(__name__)

_NOT_LET_IN: Final = {
    ErrorCode.UNAUTHORIZED: "That key is not valid.",
    ErrorCode.FORBIDDEN: "That key is not one of an admin.",
    ErrorCode.AUDIT_UNAVAILABLE: "The audit log cannot be written, so nobody is let in.",
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def console(request: Request) -> Response:
    state = state_of(request)
    someone = await state.access.logged_in(request)
    if someone is None:
        return _page(request, "log_in.html", problem=None)
    told = read_notice(request, someone.session)
    panels = await state.console.board.panels(at_once=told is not None)
    response = _page(request, "console.html", panels=panels, notice=told, someone=someone)
    drop_notice(request, response)
    return response


@router.post("/console/log-in")
async def log_in(request: Request) -> Response:
    """One line of the audit log, whatever comes of it. A page of another site cannot log anybody in."""
    if not is_same_origin(request):
        raise ForbiddenError
    state = state_of(request)
    key = (await read_form(request)).get("key", "").strip()
    session_id, outcome = "", DONE
    try:
        session_id = await state.access.log_in(key)
    except QueryError as error:
        outcome = error.code.value
    try:
        await state.audit.write(Attempt(new_id(), state.access.identify_key(key), "log_in", {}), outcome)
    except AuditUnwritableError:
        log.exception("audit log cannot be written, nobody is let in")
        outcome = ErrorCode.AUDIT_UNAVAILABLE.value
    if outcome != DONE:
        code = ErrorCode(outcome)
        return _page(request, "log_in.html", status=ERRORS[code].status, problem=_NOT_LET_IN[code])
    response = _go_to("/")
    set_cookie(request, response, SESSION, session_id)
    return response


@router.post("/console/log-out")
async def log_out(request: Request) -> Response:
    if not is_same_origin(request):
        raise ForbiddenError
    await state_of(request).access.log_out(request)
    response = _go_to("/")
    drop_cookie(request, response, SESSION)
    return response


@router.get("/console/servers/{server}/tools")
async def tools(request: Request, server: str) -> Response:
    state = state_of(request)
    if await state.access.logged_in(request) is None:
        return _go_to("/")
    return _page(request, "tools.html", server=server, tools=state.console.board.tools(server))


@router.get("/console/orders/{name}")
async def show_order(request: Request, name: str) -> Response:
    order = _order(name)
    someone = await state_of(request).access.logged_in(request)
    if someone is None:
        return _go_to("/")
    return _form(request, order, someone, {field.name: field.value for field in order.fields})


@router.post("/console/orders/{name}")
async def give_order(request: Request, name: str) -> Response:
    order = _order(name)
    someone = await state_of(request).access.logged_in(request)
    if someone is None:
        return _go_to("/")
    form = await read_form(request)
    targets = _targets(request, order)
    body = operation_body(order, targets, form, datetime.now(UTC))
    path, token = operation_path(order, targets), form.get("csrf_token", "")
    reply = await ask_api(request, order.method, path, body, csrf_token=token)
    if reply.is_problem:
        return _form(request, order, someone, form, refusal(order, reply), status=reply.status)
    response = _go_to(f"/#{order.panel}")
    send_notice(request, response, someone.session, notice(order, targets, reply))
    return response


@router.get("/console/events")
async def events(request: Request) -> Response:
    state = state_of(request)
    if await state.access.logged_in(request) is None:
        raise UnauthorizedError
    return StreamingResponse(
        panels_as_they_change(request, state.access, state.console),
        media_type="text/event-stream",
        headers={**PAGE_HEADERS, "x-accel-buffering": "no"},
    )


@router.get("/console/static/{name}")
async def static_file(request: Request, name: str) -> Response:
    file = state_of(request).console.files.get(name)
    if file is None:
        raise PathNotFoundError
    return file.response()


def _order(name: str) -> Order:
    try:
        return ORDERS[name]
    except KeyError:
        raise PathNotFoundError from None


def _targets(request: Request, order: Order) -> dict[str, str]:
    return {name: request.query_params.get(name, "") for name in order.targets}


def _form(
    request: Request,
    order: Order,
    someone: LoggedIn,
    values: Mapping[str, str],
    refused: Refusal | None = None,
    *,
    status: int = 200,
) -> Response:
    targets = _targets(request, order)
    return _page(
        request,
        "order.html",
        status=status,
        order=order,
        targets=targets,
        title=order.title.format_map(targets),
        values=values,
        refused=refused,
        someone=someone,
    )


def _page(request: Request, template: str, *, status: int = 200, **context: Any) -> Response:
    html = state_of(request).console.templates.render(template, **context)
    return HTMLResponse(html, status, headers=PAGE_HEADERS)


def _go_to(path: str) -> Response:
    return RedirectResponse(path, 303, headers=PAGE_HEADERS)
