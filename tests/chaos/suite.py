"""Every row, in the order of the table."""

from tests.chaos.fault import Fault
from tests.chaos.faults import breakers, buses, mcp_servers, overload, processes, releases, stores

_WORKER_LEAVES, _WORKER_KILLED, _ORCHESTRATOR_LEAVES = processes.FAULTS

FAULTS: tuple[Fault, ...] = (
    _WORKER_LEAVES,
    _WORKER_KILLED,
    *mcp_servers.FAULTS,
    _ORCHESTRATOR_LEAVES,
    *buses.FAULTS,
    *stores.FAULTS,
    *overload.FAULTS,
    *breakers.FAULTS,
    *releases.FAULTS,
)
