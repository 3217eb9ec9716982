"""Why the admin service does not do what it is asked, beside what can be wrong with any request.

NotExecutedError               (runtime.errors) certainly nothing was changed
├── StoreUnavailableError      the shared store does not answer, or there is none; but a change of what only it
│                              has, a rollout or what is cached, may have reached it
├── FleetUnavailableError      the bus is away, so nobody can be told
└── AuditUnavailableError      the audit log cannot be written, and nothing is changed without it

RefusedError                   (runtime.errors) asking again cannot help
├── WorkerNotFoundError        no live worker has that id
├── VersionNotFoundError       no worker of that version of the server lives
├── RolloutNotFoundError       there is no rollout of that id
├── PinNotFoundError           the definitions of the server's tools are not pinned
├── RolloutConflictError       it does not go together with the server's rollouts as they stand
└── InvalidConfigError         a configuration file is not valid, or not all processes have the same
"""

from bus_schemas.errors import ErrorCode
from services.runtime.errors import NotExecutedError, RefusedError


class StoreUnavailableError(NotExecutedError):
    """The shared store does not answer, or there is none; what was to be changed in it may be."""

    code = ErrorCode.STORE_UNAVAILABLE


class FleetUnavailableError(NotExecutedError):
    """The bus is away, so nobody can be told."""

    code = ErrorCode.BUS_UNAVAILABLE


class AuditUnavailableError(NotExecutedError):
    """The audit log cannot be written, and nothing is changed without it."""

    code = ErrorCode.AUDIT_UNAVAILABLE


class WorkerNotFoundError(RefusedError):
    """No live worker has that id."""

    code = ErrorCode.WORKER_NOT_FOUND


class VersionNotFoundError(RefusedError):
    """No worker of that version of the server lives."""

    code = ErrorCode.VERSION_NOT_FOUND


class RolloutNotFoundError(RefusedError):
    """There is no rollout of that id."""

    code = ErrorCode.ROLLOUT_NOT_FOUND


class RolloutConflictError(RefusedError):
    """Another one is under way, the version has its queries already, or this one does not take that order now."""

    code = ErrorCode.ROLLOUT_CONFLICT


class PinNotFoundError(RefusedError):
    """The definitions of the server's tools are not pinned."""

    code = ErrorCode.PIN_NOT_FOUND


class InvalidConfigError(RefusedError):
    """A configuration file is not valid, or not all processes have the same; `errors` says which and why."""

    code = ErrorCode.INVALID_CONFIG
