"""The live workers, and how one is told to leave."""

from typing import Final

from bus_schemas import subjects
from bus_schemas.control import Acknowledged, DrainWorker
from services.admin.errors import FleetUnavailableError, WorkerNotFoundError
from services.runtime.bus import BusAwayError, Inbox
from services.runtime.bus.inbox import NoRespondersError
from services.runtime.errors import DeadlineExceededError
from services.runtime.fleet import Fleet, Report

_WITHIN_S: Final = 1.5
"""How long a worker has to acknowledge an order, as the orchestrators have."""


class WorkerControl:
    """Lists workers, and drains them one by one."""

    def __init__(self, fleet: Fleet, inbox: Inbox) -> None:
        self._fleet = fleet
        self._inbox = inbox

    def reports(self) -> list[Report]:
        """Return what each live worker says of itself, by server, version and age."""
        reports = (worker.report for worker in self._fleet.workers())
        return sorted(reports, key=lambda report: (report.server, report.version, report.started_at))

    async def drain(self, instance: str) -> Report:
        """Tell a worker to finish what it has, leave and exit; return when it has acknowledged that.

        Raises:
            WorkerNotFoundError: there is none of that id.
            FleetUnavailableError: the bus is away, and it was not told.
            DeadlineExceededError: it has not acknowledged it in 1.5 s; it may leave all the same.
        """
        worker = self._fleet.worker(instance)
        if worker is None:
            raise WorkerNotFoundError
        subject = subjects.control(worker.report.server, instance)
        try:
            reply = await self._inbox.ask(subject, DrainWorker().encode(), timeout_s=_WITHIN_S)
            Acknowledged.model_validate_json(reply.data)
        except NoRespondersError as error:  # it has gone since it was last heard
            raise WorkerNotFoundError from error
        except BusAwayError as error:
            raise FleetUnavailableError from error
        except (TimeoutError, ValueError) as error:
            raise DeadlineExceededError from error
        return worker.report
