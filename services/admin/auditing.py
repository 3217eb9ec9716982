"""The routes under /v1: who is let in, and what the audit log says of it."""

import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from bus_schemas.errors import ErrorCode
from services.admin.audit import ATTEMPTED, DONE, Attempt, Audit, AuditUnwritableError
from services.admin.errors import AuditUnavailableError
from services.admin.state import state_of
from services.runtime.errors import InternalError, InvalidRequestError, QueryError
from services.runtime.field_errors import field_errors
from services.runtime.http import problem_response
from services.runtime.ids import new_id

log = logging.getLogger(__name__)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class AuditedRoute(APIRoute):
    """A route under /v1; its name is the action. Who is refused leaves a line, and nothing is read of their request.

    Every attempt to change something is in the log before it is made, and its outcome after. Without an audit log
    nothing is changed: 503. Once changed, an outcome that cannot be written is only logged.
    """

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def handle_audited(request: Request) -> Response:
            state = state_of(request)
            target = {name: str(value) for name, value in request.path_params.items()}
            try:
                who = (await state.access.admit(request)).id
            except QueryError as refused:
                attempt = Attempt(new_id(), await state.access.identify(request), self.name, target)
                await _tell_outcome(state.audit, attempt, refused.code.value)
                return problem_response(refused, attempt.id)
            if request.method == "GET":
                return await handle(request)
            attempt = Attempt(new_id(), who, self.name, target)
            try:
                await state.audit.write(attempt, ATTEMPTED)
            except AuditUnwritableError:
                log.exception("audit log cannot be written, nothing is changed")
                return problem_response(AuditUnavailableError(), attempt.id)
            response, outcome = await _attempt(handle, request, attempt.id)
            await _tell_outcome(state.audit, _completed(attempt, request), outcome)
            return response

        return handle_audited


def audit_also(request: Request, **target: str) -> None:
    """Add to the target of what is attempted what only the body says; it stands in the line of the outcome."""
    request.state.audited_also = target


def _completed(attempt: Attempt, request: Request) -> Attempt:
    return replace(attempt, target={**attempt.target, **getattr(request.state, "audited_also", {})})


async def _attempt(handle: Handler, request: Request, request_id: str) -> tuple[Response, str]:
    try:
        response = await handle(request)
    except QueryError as error:
        problem = error
    except RequestValidationError as error:
        problem = InvalidRequestError(errors=field_errors(error.errors(), skip=1))
    except Exception:  # the last line of defence: the outcome is audited
        log.exception("request failed")
        problem = InternalError()
    else:
        # Done, and some did not say so in time: the answer names them.
        is_late = response.status_code == HTTPStatus.GATEWAY_TIMEOUT
        return response, ErrorCode.TIMEOUT.value if is_late else DONE
    return problem_response(problem, request_id), problem.code.value


async def _tell_outcome(audit: Audit, attempt: Attempt, outcome: str) -> None:
    try:
        await audit.write(attempt, outcome)
    except AuditUnwritableError:
        log.exception("outcome cannot be written to the audit log", extra={"action": attempt.action})
