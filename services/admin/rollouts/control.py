"""What operators order: a rollout is begun, held, hastened or taken back, by whichever admin service is asked."""

from collections.abc import Callable
from typing import Final

from services.admin.errors import (
    FleetUnavailableError,
    RolloutConflictError,
    RolloutNotFoundError,
    VersionNotFoundError,
)
from services.admin.known_servers import KnownServers
from services.admin.rollouts.book import Entry, RolloutBook
from services.admin.rollouts.plan import Facts, OrderRefusedError
from services.admin.rollouts.rollout import KeptOrder, Observed, Rollout, RolloutOrder, RolloutState
from services.admin.rollouts.survey import Fleetwatch
from services.admin.rollouts.telling import Telling
from services.runtime.bus import BusAwayError
from services.runtime.ids import new_id

_TRIES: Final = 20
"""The driver changes a rollout about once a second, and an order has to come between."""


class RolloutControl:
    """Everything raises StoreUnavailableError where the store does not answer.

    What was ordered may have reached the store all the same; then it is done, and the driver tells the fleet.
    """

    def __init__(self, book: RolloutBook, telling: Telling, watch: Fleetwatch, known: KnownServers) -> None:
        self._book = book
        self._telling = telling
        self._watch = watch
        self._known = known

    async def start(self, order: RolloutOrder) -> Rollout:
        """Begin to move the queries from the version that has most of them; return when it is certain to go on.

        Raises:
            ServerNotFoundError: the server is neither configured nor was it ever announced.
            VersionNotFoundError: no worker of the new version lives.
            RolloutConflictError: another rollout of the server goes on, or there is no other version to move from.
            FleetUnavailableError: the bus is away.
        """
        self._known.check(order.server)
        await self._be_heard()
        if not self._watch.workers(order.server, order.to_version):
            raise VersionNotFoundError
        current = self._watch.current_version(order.server)
        if current is None or current == order.to_version:
            raise RolloutConflictError
        word = self._telling.next_word(order.server, {current: 100, order.to_version: 0}, under_way=True)
        rollout = Rollout(
            id=new_id(),
            server=order.server,
            from_version=current,
            to_version=order.to_version,
            state=RolloutState.RUNNING,
            weight=0,
            step=0,
            reason="",
            observed={current: Observed(), order.to_version: Observed()},
            order=KeptOrder(**order.model_dump()),
            epoch=word.epoch,
            weights_by=word.by,
            weights_at=word.updated_at,
        )
        entry = await self._book.open(rollout)
        if entry is None:
            raise RolloutConflictError
        await self._tell(entry)
        return rollout

    async def all(self) -> list[Rollout]:
        """Return those that go on and the last that ended, the newest first."""
        return await self._book.all()

    async def one(self, rollout_id: str) -> Rollout:
        """Raises RolloutNotFoundError."""
        return (await self._read(rollout_id)).rollout

    async def obey(self, rollout_id: str, order: Callable[[Rollout, Facts], Rollout]) -> Rollout:
        """Do what an operator orders (`plan.pause`, …); return the rollout as it is from now on.

        Raises:
            RolloutNotFoundError: there is none of that id.
            RolloutConflictError: it is not in a state for that.
            FleetUnavailableError: the bus is away; nothing was changed.
        """
        await self._be_heard()
        for _ in range(_TRIES):
            entry = await self._read(rollout_id)
            before = entry.rollout
            try:
                after = order(before, self._watch.begin_lap(before).facts())
            except OrderRefusedError as error:
                raise RolloutConflictError from error
            after = self._telling.with_word(before, after)
            changed = await self._book.replace(entry, after)
            if changed is not None:
                if after.epoch != before.epoch:
                    await self._tell(changed)
                return after
        raise RolloutConflictError

    async def _read(self, rollout_id: str) -> Entry:
        entry = await self._book.read(rollout_id)
        if entry is None:
            raise RolloutNotFoundError
        return entry

    async def _be_heard(self) -> None:
        try:
            await self._telling.be_heard()
        except BusAwayError as error:
            raise FleetUnavailableError from error

    async def _tell(self, entry: Entry) -> None:
        """Tell the weights at once. Whatever fails here the driver does later."""
        try:
            is_heard = await self._telling.tell_weights(entry.rollout)
        except BusAwayError:
            return
        if is_heard and entry.rollout.state.is_over:
            await self._book.settle(entry)
