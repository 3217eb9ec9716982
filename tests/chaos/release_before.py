"""A worker of the release before: `python -m tests.chaos.release_before`, with the arguments of `services.worker`.

Its code is of today, but what it says and hears is cut down on its connection to the tagged message set: subjects,
messages, headers and fields that are not in it do not exist. At its end it prints, as JSON, how many messages of each
name it has said and heard, and under `cut` of how many something was cut off.
"""

import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from unittest.mock import patch

from services.runtime.bus import Bus, BusMessage, Subscription, connection
from services.runtime.bus.client import HardenedClient, Take
from services.runtime.bus.connection import Handler
from services.runtime.lifecycle import Lifecycle
from services.worker import __main__ as worker
from tests.contract.message_set import Known, MessageSet

CUT = "cut"


class BusOfRelease(Bus):
    """A connection that knows nothing but what a release does."""

    def __init__(
        self, client: HardenedClient, inbox_prefix: str, life: Lifecycle, *, release: MessageSet, counted: Counter[str]
    ) -> None:
        """Take what a `Bus` takes, the release, and where messages are counted."""
        super().__init__(client, inbox_prefix, life)
        self._release = release
        self._counted = counted

    def publish_at_once(self, subject: str, payload: bytes, *, headers: Mapping[str, str], reply: str) -> bool:
        return False  # by `publish`, then

    async def publish(
        self, subject: str, payload: bytes, *, headers: Mapping[str, str] | None = None, reply: str = ""
    ) -> None:
        if self._is_own(subject):
            await super().publish(subject, payload, headers=headers, reply=reply)
        elif (known := self._known(subject, headers, payload)) is not None:
            await super().publish(subject, known.payload, headers=known.headers, reply=reply)

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        async def hear(message: BusMessage) -> None:
            if (known := self._known(message.subject, message.headers, message.data)) is not None:
                await handler(replace(message, headers=known.headers, data=known.payload))

        if self._is_own(subject):
            return await super().subscribe(subject, handler, queue=queue)
        if not self._release.has_subject(subject):
            return await super().subscribe(f"{self.inbox_prefix}.unheard", handler)  # nobody speaks there
        return await super().subscribe(subject, hear, queue=queue)

    async def receive(self, subject: str, take: Take, *, queue: str = "") -> Subscription:
        async def handle(message: BusMessage) -> None:
            take(message)

        return await self.subscribe(subject, handle, queue=queue)

    def _is_own(self, subject: str) -> bool:
        """Whether this connection talks to itself there: its echo, and what NATS sends back."""
        return subject.startswith(f"{self.inbox_prefix}.")

    def _known(self, subject: str, headers: Mapping[str, str] | None, payload: bytes) -> Known | None:
        known = self._release.known(subject, headers, payload)
        if known is not None:
            self._counted[known.name] += 1
        if known is None or not known.is_whole:
            self._counted[CUT] += 1
        return known


def main() -> int:
    counted: Counter[str] = Counter()
    bus = partial(BusOfRelease, release=MessageSet.of_release_before(), counted=counted)
    with patch.object(connection, "Bus", bus):
        status = worker.main()
    print(json.dumps(counted))  # noqa: T201
    return status


if __name__ == "__main__":
    sys.exit(main())
