"""Lets every process read its configuration anew: all say what they would put into force, then all do it, or none.

The order in which it comes into force loses no call: orchestrators, health and admin first, so that nothing is sent to
a server that goes; then the supervisor, which starts and stops workers; then the workers that stay.
"""

import asyncio
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from bus_schemas import subjects
from bus_schemas.config import ApplyConfig, ConfigApplied, ConfigPrepared, PrepareConfig
from bus_schemas.control import DrainWorker
from bus_schemas.errors import FieldError
from services.admin.errors import FleetUnavailableError, InvalidConfigError
from services.runtime.bus import Bus, BusAwayError, Inbox
from services.runtime.bus.inbox import NoRespondersError
from services.runtime.config.errors import ConfigError
from services.runtime.config.file import load_policy
from services.runtime.fleet import Fleet, Report
from services.runtime.replicas import Replicas

_PREPARED_WITHIN_S: Final = 5.0
_STALL_S: Final = 1.0
"""Health and admin services have no heartbeat: who has not answered so long after the last answer is not waited for."""
_APPLIED_WITHIN_S: Final = 5.0
_KEYWORD: Final = "config"
"""In the place of a JSON Schema keyword: the words in `detail` say what is wrong."""
_PLAIN_KEYS: Final = re.compile(r"[A-Za-z0-9_.-]+\Z")


@dataclass(frozen=True, slots=True)
class Reload:
    """What became of a reload.

    With a live orchestrator, or the supervisor, that did not answer the first question, nothing is changed.
    """

    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    undeployed: list[str] = field(default_factory=list)
    acknowledged_by: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    is_applied: bool = False


class ConfigControl:
    """Reloads, one reload at a time."""

    def __init__(
        self, bus: Bus, inbox: Inbox, fleet: Fleet, replicas: Replicas, path: Path, *, has_supervisor: bool
    ) -> None:
        """Take who can be told, the path of our own file, and whether a supervisor is among them."""
        self._bus = bus
        self._inbox = inbox
        self._fleet = fleet
        self._replicas = replicas
        self._path = path
        self._has_supervisor = has_supervisor
        self._turn = asyncio.Lock()

    async def reload(self) -> Reload:
        """Put what is in the files now into force.

        Raises:
            InvalidConfigError: a file is not valid, or they are not the same. Nothing was changed.
            FleetUnavailableError: the bus is away. Nothing was changed.
        """
        async with self._turn:
            digest = await self._own_digest()
            try:
                prepared = await self._prepare()
            except BusAwayError as error:
                raise FleetUnavailableError from error
            _refuse_problems(prepared, digest)
            if silent := self._silent(prepared):
                return Reload(missing=silent)
            return await self._apply(digest, prepared)

    async def _own_digest(self) -> str:
        try:
            return (await asyncio.to_thread(load_policy, self._path)).digest()
        except ConfigError as error:
            raise InvalidConfigError(errors=[_field_error(problem) for problem in error.without_values()]) from error

    async def _prepare(self) -> list[ConfigPrepared]:
        await self._replicas.completed()
        order = PrepareConfig().encode()
        replies = await asyncio.gather(
            *(
                self._inbox.gather(subject, order, total_s=_PREPARED_WITHIN_S, stall_s=_STALL_S)
                for subject in (subjects.CONFIG, subjects.SUPERVISOR)
            )
        )
        prepared = []
        for reply in (one for some in replies for one in some):
            with suppress(ValueError):  # of a release that says it in another way: it counts as silent
                prepared.append(ConfigPrepared.model_validate_json(reply.data))
        return prepared

    def _silent(self, prepared: list[ConfigPrepared]) -> list[str]:
        """Return, sorted, who has not said what it would put into force, and is not to be left behind."""
        orchestrators = self._replicas.instances() - {one.instance for one in prepared}
        silent = sorted(_named("orchestrator", instance) for instance in orchestrators)
        if self._has_supervisor and all(one.service != "supervisor" for one in prepared):
            silent.append("supervisor")  # which has no heartbeat that would tell its instance
        return silent

    async def _apply(self, digest: str, prepared: list[ConfigPrepared]) -> Reload:
        services = [one for one in prepared if one.service not in {"supervisor", "worker"}]
        supervisors = [one for one in prepared if one.service == "supervisor"]
        by = await self._tell(subjects.CONFIG, digest, set(map(_name, services)))
        by |= await self._tell(subjects.SUPERVISOR, digest, set(map(_name, supervisors)))
        # Workers that the supervisor replaces, because their server is reached in another way, leave anyway.
        staying = _of_all(services, "changed") - _of_all(supervisors, "changed")
        workers = {_named("worker", one.instance) for one in self._reports() if one.server in staying}
        by |= await self._tell(subjects.WORKER_CONFIG, digest, workers)
        removed = _of_all(prepared, "removed")
        await self._drain(one for one in self._reports() if one.server in removed)
        return Reload(
            added=sorted(_of_all(prepared, "added")),
            removed=sorted(removed),
            changed=sorted(_of_all(prepared, "changed")),
            undeployed=sorted(_of_all(prepared, "undeployed")),
            acknowledged_by=sorted(by),
            missing=sorted({*map(_name, services), *map(_name, supervisors), *workers} - by),
            is_applied=True,
        )

    async def _tell(self, subject: str, digest: str, expected: set[str]) -> set[str]:
        """Order to apply it; return who of `expected` says in time that it has.

        Whoever was too slow to be expected obeys all the same, so it is said also where nobody is.
        """
        by: set[str] = set()
        with self._inbox.expect() as exchange, suppress(BusAwayError, NoRespondersError, TimeoutError):
            await self._bus.publish(subject, ApplyConfig(digest=digest).encode(), reply=exchange.reply_to)
            async with asyncio.timeout(_APPLIED_WITHIN_S):
                while expected - by:
                    reply = await exchange.next()
                    with suppress(ValueError):
                        applied = ConfigApplied.model_validate_json(reply.data)
                        by |= {_named(applied.service, applied.instance)} & expected
        return by

    async def _drain(self, reports: Iterable[Report]) -> None:
        """Order workers to leave; those of a supervisor are stopped by it, too."""
        for report in list(reports):
            with suppress(BusAwayError):
                await self._bus.publish(subjects.control(report.server, report.instance), DrainWorker().encode())

    def _reports(self) -> list[Report]:
        return [worker.report for worker in self._fleet.workers()]


def _refuse_problems(prepared: Iterable[ConfigPrepared], digest: str) -> None:
    """Raise InvalidConfigError if anybody found something wrong, or has another configuration than ours."""
    errors = [_field_error(problem, _name(one)) for one in prepared for problem in one.problems]
    errors += [
        FieldError(pointer="", keyword=_KEYWORD, detail=f"{_name(one)} reads another configuration")
        for one in prepared
        if one.digest not in {None, digest}
    ]
    if errors:
        raise InvalidConfigError(errors=errors)


def _field_error(problem: str, found_by: str | None = None) -> FieldError:
    """Return a line such as `servers.files.timeout_s: must be …` as a pointer into the file, and all of it in words."""
    keys, colon, _ = problem.partition(": ")
    pointer = "/" + keys.replace(".", "/") if colon and _PLAIN_KEYS.match(keys) else ""
    return FieldError(pointer=pointer, keyword=_KEYWORD, detail=f"{found_by}: {problem}" if found_by else problem)


def _of_all(prepared: Iterable[ConfigPrepared], what: Literal["added", "removed", "changed", "undeployed"]) -> set[str]:
    return {name for one in prepared for name in getattr(one, what)}


def _name(prepared: ConfigPrepared) -> str:
    return _named(prepared.service, prepared.instance)


def _named(service: str, instance: str) -> str:
    """Return the name of a process as NATS knows its connection."""
    return f"{service}-{instance}"
