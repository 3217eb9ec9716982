"""Every row, in the order of the table."""

from tests.chaos.awaited import AWAITED
from tests.chaos.fault import Fault
from tests.chaos.faults import breakers, buses, mcp_servers, overload, processes, stores

_WORKER_LEAVES, _WORKER_KILLED, _ORCHESTRATOR_LEAVES = processes.FAULTS

ALL: tuple[Fault, ...] = (
    _WORKER_LEAVES,
    _WORKER_KILLED,
    *mcp_servers.FAULTS,
    _ORCHESTRATOR_LEAVES,
    *buses.FAULTS,
    *stores.FAULTS,
    *overload.FAULTS,
    *breakers.FAULTS,
)
FAULTS: tuple[Fault, ...] = tuple(fault for fault in ALL if fault.needs not in AWAITED)
"""Those whose protection is built."""
