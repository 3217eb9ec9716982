"""What a rollout makes the fleet do: the weights are retained and told, the old version's workers are told to leave."""

import asyncio
import logging
from collections.abc import Iterable, Mapping

from bus_schemas import subjects
from bus_schemas.rollouts import RolloutWeights
from bus_schemas.workers import WorkerState
from services.admin.rollouts.rollout import Rollout
from services.admin.workers import WorkerControl
from services.runtime.errors import QueryError
from services.runtime.fleet import Worker
from services.runtime.replicas import Replicas
from services.runtime.rollouts import ROLLOUTS, RolloutWords
from services.runtime.store import Store
from services.runtime.words import retain

log = logging.getLogger(__name__)


class Telling:
    """Says it, and waits until it was heard."""

    def __init__(
        self, store: Store, words: RolloutWords, replicas: Replicas, workers: WorkerControl, *, instance: str
    ) -> None:
        self._store = store
        self._words = words
        self._replicas = replicas
        self._workers = workers
        self._instance = instance

    async def be_heard(self) -> None:
        """Return when every live orchestrator is known. Raises BusAwayError: nobody can be told."""
        await self._replicas.completed()

    def next_word(self, server: str, weights: Mapping[str, float], *, under_way: bool) -> RolloutWeights:
        """Return the word that is to be said now, above all that are known."""
        return self._words.next(server, weights, under_way=under_way, by=self._instance)

    def with_word(self, before: Rollout, after: Rollout) -> Rollout:
        """Return `after` with an epoch of its own, if its weights or whether it goes on are news to the fleet."""
        if (after.shares, after.state.is_over) == (before.shares, before.state.is_over):
            return after
        word = self.next_word(after.server, after.shares, under_way=not after.state.is_over)
        epoch = max(word.epoch, before.epoch + 1)
        return after.model_copy(update={"epoch": epoch, "weights_by": word.by, "weights_at": word.updated_at})

    async def tell_weights(self, rollout: Rollout) -> bool:
        """Put the rollout's weights into force; return whether every live orchestrator goes by them, and the store.

        Raises:
            BusAwayError: nobody was told.
        """
        word = weights_of(rollout)
        self._words.take(word)
        is_retained = await retain(self._store, ROLLOUTS, [word])
        heard = await self._replicas.tell(subjects.rollout_event(word.server), word.encode())
        if heard.missing:
            log.warning("weights were not acknowledged by all", extra={"server": word.server, "missing": heard.missing})
        return is_retained and not heard.missing

    async def order_drain(self, workers: Iterable[Worker]) -> None:
        """Tell those that have not begun to leave to do so; who does not answer is told again with the next call."""
        staying = [worker.report for worker in workers if worker.report.state is not WorkerState.DRAINING]
        await asyncio.gather(*(self._drain(report.server, report.instance) for report in staying))

    async def _drain(self, server: str, instance: str) -> None:
        try:
            await self._workers.drain(instance)
        except QueryError as error:
            log.warning(
                "worker did not take the order to drain",
                extra={"server": server, "instance": instance, "code": error.code.value},
            )


def weights_of(rollout: Rollout) -> RolloutWeights:
    """Return the word on the rollout's server."""
    return RolloutWeights(
        server=rollout.server,
        weights=rollout.shares,
        under_way=not rollout.state.is_over,
        epoch=rollout.epoch,
        updated_at=rollout.weights_at,
        by=rollout.weights_by,
    )
