"""Moments as they are told over HTTP."""

from datetime import UTC, datetime
from typing import overload


@overload
def moment(seconds: float) -> datetime: ...
@overload
def moment(seconds: None) -> None: ...
@overload
def moment(seconds: float | None) -> datetime | None: ...
def moment(seconds: float | None) -> datetime | None:
    """Return a moment in UTC by its seconds since 1970, before the year 10000."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
