"""Which share each version of a server gets: the words on weights."""

from collections.abc import Collection, Mapping
from typing import Final

from bus_schemas import subjects
from bus_schemas.rollouts import AskRollouts, RolloutAcknowledged, RolloutsTold, RolloutWeights
from services.runtime.words import Topic, Words

ROLLOUTS: Final = Topic(
    name="rollouts",
    events=subjects.ROLLOUT_EVENTS,
    event_of=subjects.rollout_event,
    questions=subjects.ROLLOUTS,
    word=RolloutWeights,
    question=AskRollouts,
    told=RolloutsTold,
    acknowledged=RolloutAcknowledged,
    shown=lambda word: {"weights": word.weights},
)


def effective_weights(rollout: Mapping[str, float], live: Collection[str], first: str | None) -> Mapping[str, float]:
    """Return the weights in force among live versions.

    A version gets traffic only through a rollout, or when no other version of the server lives.

    Args:
        rollout: the weights a rollout has set; empty where there was none.
        live: the versions that have a live worker.
        first: the version whose live worker started first.
    """
    weighted = {version: rollout[version] for version in live if rollout.get(version, 0) > 0}
    if weighted:
        return weighted
    return {first: 100.0} if first in live and first is not None else dict.fromkeys(live, 100.0)


class RolloutWords(Words[RolloutWeights]):
    """The newest word on each server."""

    topic = ROLLOUTS

    def of(self, server: str) -> RolloutWeights | None:
        """Return the newest word on a server; None: there never was a rollout."""
        return self._words.get(server)

    def weights(self, server: str) -> Mapping[str, float]:
        """Return what rollouts have set, in percent by version; empty where there never was one."""
        word = self._words.get(server)
        return {} if word is None else word.weights

    def is_under_way(self, server: str) -> bool:
        """Whether a rollout of the server goes on."""
        word = self._words.get(server)
        return word is not None and word.under_way

    def next(self, server: str, weights: Mapping[str, float], *, under_way: bool, by: str) -> RolloutWeights:
        """Return the word that `by` is to say now, above the one that is known of the server."""
        now = self._wall_clock()
        epoch = self.next_epoch(server, now)
        return RolloutWeights(
            server=server, weights=dict(weights), under_way=under_way, epoch=epoch, updated_at=now, by=by
        )
