"""Which of a caller's headers reach a server: those that its configuration names, and no others."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bus_schemas.errors import FieldError
from services.runtime.config.headers import header_value
from services.runtime.config.policy import ServerPolicy
from services.runtime.errors import InvalidRequestError

MAX_FORWARDED_BYTES: Final = 4096
"""Names and values of what one call carries, together."""

HeaderValues = Callable[[str], Sequence[str]]
"""Gives the caller's headers of one name, in lower case; of the others nothing is known here."""


def no_headers(_name: str) -> Sequence[str]:
    """The `HeaderValues` of a caller without any."""
    return ()


def forwarded_headers(policy: ServerPolicy, callers: HeaderValues) -> Mapping[str, str]:
    """Return the headers that go on to the server, by name in lower case; what came twice is one list (RFC 9110 §5.3).

    Raises:
        InvalidRequestError: a value is not visible ASCII, or they are too long together; `errors` names the header
            as `/headers/<name>`.
    """
    forwarded: dict[str, str] = {}
    carried = 0
    for name in policy.forward_headers:
        if not (values := callers(name)):
            continue
        value = ", ".join(part.strip(" \t") for part in values)
        try:
            forwarded[name] = header_value(value)
        except ValueError as error:
            raise _refused(name, "pattern") from error
        carried += len(name) + len(value)
        if carried > MAX_FORWARDED_BYTES:
            raise _refused(name, "maxLength")
    return forwarded


def _refused(name: str, keyword: str) -> InvalidRequestError:
    return InvalidRequestError(errors=[FieldError(pointer=f"/headers/{name}", keyword=keyword)])
