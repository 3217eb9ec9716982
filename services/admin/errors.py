"""Why the admin service does not do what it is asked, beside what can be wrong with any request.

NotExecutedError               (runtime.errors) certainly nothing was changed
├── StoreUnavailableError      the shared store does not answer, or there is none
├── FleetUnavailableError      the bus is away, so nobody can be told
└── AuditUnavailableError      the audit log cannot be written, and nothing is changed without it
"""

from bus_schemas.errors import ErrorCode
from services.runtime.errors import NotExecutedError


class StoreUnavailableError(NotExecutedError):
    """The shared store does not answer, or there is none."""

    code = ErrorCode.STORE_UNAVAILABLE


class FleetUnavailableError(NotExecutedError):
    """The bus is away, so nobody can be told."""

    code = ErrorCode.BUS_UNAVAILABLE


class AuditUnavailableError(NotExecutedError):
    """The audit log cannot be written, and nothing is changed without it."""

    code = ErrorCode.AUDIT_UNAVAILABLE
