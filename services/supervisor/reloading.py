"""Puts what the operator's file says now into force: checked first; then workers come, go and are replaced."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from bus_schemas.config import ConfigApplied, ConfigPrepared
from services.runtime.config.errors import ConfigError
from services.supervisor.configuration import Change, Reading, change, read_whole
from services.supervisor.crew import Crew
from services.supervisor.pinning import PinnedFiles

log = logging.getLogger(__name__)

Spawn = Callable[[Coroutine[Any, Any, None]], None]
"""Does something in the background."""


class Standing:
    """What is in force, and the files that workers read of it."""

    def __init__(self, reading: Reading, files: PinnedFiles) -> None:
        """Write the workers' file."""
        self.reading = reading
        self.files = files
        self.path = files.write(reading.entries)

    def replace(self, reading: Reading) -> None:
        """Let `reading` be in force, also for workers that are started again."""
        self.path = self.files.write(reading.entries)
        self.reading = reading
        for server, policy in reading.policy.servers.items():
            self.files.rewrite_for(server, policy.version, reading.entries[server])


class Reloading:
    """Obeys the two orders of a reload."""

    def __init__(self, standing: Standing, crew: Crew, path: Path, *, instance: str, spawn: Spawn) -> None:
        """Take what is in force, those who are to come and go, and the operator's file."""
        self._standing = standing
        self._crew = crew
        self._path = path
        self._instance = instance
        self._spawn = spawn

    async def prepare(self) -> ConfigPrepared:
        """Return what the file says, private keys checked, and what would be done; change nothing."""
        try:
            file, what = await self._read()
        except ConfigError as error:
            return ConfigPrepared(instance=self._instance, service="supervisor", problems=error.without_values())
        return ConfigPrepared(
            instance=self._instance,
            service="supervisor",
            digest=file.policy.digest(),
            problems=what.problems,
            added=what.added,
            removed=what.removed,
            changed=what.replaced,
            undeployed=what.undeployed,
        )

    async def apply(self, digest: str) -> ConfigApplied | None:
        """Begin to do it, and return at once; None: the file does not say that any more."""
        try:
            file, what = await self._read()
        except ConfigError:
            file, what = None, None
        if file is None or what is None or what.problems or file.policy.digest() != digest:
            log.warning("configuration is not the one that shall be in force, it is not applied")
            return None
        former = self._standing.reading
        self._standing.replace(what.reading)
        for name in what.added:
            self._begin(what.reading, name)
        for name in what.removed:
            for version in self._crew.versions(name):
                self._spawn(self._crew.end(name, version))
        for name in what.replaced:
            version, connection = former.policy.servers[name].version, what.reading.connections[name]
            self._spawn(self._crew.replace(name, version, connection, self._standing.path))
        log.info(
            "configuration applied",
            extra={"added": what.added, "removed": what.removed, "replaced": what.replaced},
        )
        return ConfigApplied(instance=self._instance, service="supervisor")

    def _begin(self, reading: Reading, name: str) -> None:
        version, connection = reading.policy.servers[name].version, reading.connections[name]
        self._crew.begin(name, version, connection, self._standing.path)

    async def _read(self) -> tuple[Reading, Change]:
        file = await asyncio.to_thread(read_whole, self._path)
        what = change(self._standing.reading, file)
        leaving = [
            f"servers.{name}: is still being stopped; try again in a moment"
            for name in what.added
            if self._crew.versions(name)
        ]
        return file, replace(what, problems=[*what.problems, *leaving])
