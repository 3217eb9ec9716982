"""Forms: read from a request, and turned into what the API takes. What makes no sense is refused there."""

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, quote

from fastapi import Request

from services.admin.console.orders import Field, Order
from services.runtime.errors import InvalidRequestError, UnsupportedMediaTypeError
from services.runtime.http import read_body

_MOST_BYTES: Final = 64 * 1024
_MOST_FIELDS: Final = 32
_TIMEOUT_S: Final = 10.0
_MEDIA_TYPE: Final = "application/x-www-form-urlencoded"
_WHOLE: Final = re.compile(r"-?\d{1,15}\Z", re.ASCII)
_BETWEEN: Final = re.compile(r"[\s,;%]+")


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields that were sent; of one that came twice, the last.

    Raises:
        UnsupportedMediaTypeError, PayloadTooLargeError, InvalidRequestError, BodyTimeoutError: it is none of ours.
    """
    data = await read_body(request.receive, _MOST_BYTES, timeout_s=_TIMEOUT_S)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _MEDIA_TYPE:
        raise UnsupportedMediaTypeError
    try:
        return dict(parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"))
    except ValueError as error:  # not UTF-8, or too many
        raise InvalidRequestError from error


def operation_path(order: Order, targets: Mapping[str, str]) -> str:
    """Return the path of the operation, not quoted; but a slash in a name is no slash, save in that of a tool."""
    return order.path.format_map(
        {name: one if name == "tool" else quote(one, safe="") for name, one in targets.items()}
    )


def operation_body(
    order: Order, targets: Mapping[str, str], form: Mapping[str, str], now: datetime
) -> dict[str, Any] | None:
    """Return the body of the operation; None: it takes none. `now` is in UTC."""
    if not order.has_body:
        return None
    body: dict[str, Any] = {name: targets[name] for name in order.in_body}
    for field in order.fields:
        text = form.get(field.name, "").strip()
        if text or field.is_needed or field.kind == "switch":
            body[field.body_key] = _value(field, text, now)
    return body


def _value(field: Field, text: str, now: datetime) -> object:
    match field.kind:
        case "text":
            return text
        case "number":
            return _number(text)
        case "minutes":
            return _moment_in(text, now)
        case "steps":
            return [_number(step) for step in _BETWEEN.split(text) if step]
        case "switch":
            return bool(text)


def _number(text: str) -> object:
    """A text that is none stays one: the API refuses it."""
    if _WHOLE.match(text):
        return int(text)
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _moment_in(text: str, now: datetime) -> object:
    minutes = _number(text)
    if not isinstance(minutes, int | float):
        return text
    try:
        return (now + timedelta(minutes=minutes)).isoformat()
    except OverflowError:
        return text
