"""The answers that this process saw last, in memory: each is as good as the store's word that is a second old."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from services.orchestrator.cache.entry import Entry, Generations

_TRUSTED_S: Final = 1.0
_LARGEST_BYTES: Final = 64 * 2**20
_OVERHEAD_BYTES: Final = 500
"""Of an entry beside its result, about."""


@dataclass(slots=True)
class _Seen:
    entry: Entry
    generations: Generations
    confirmed_at: float
    fresh_until: float


class L1:
    """Fresh entries by digest, those used least recently dropped first."""

    def __init__(self, clock: Callable[[], float], *, largest_bytes: int = _LARGEST_BYTES) -> None:
        """`clock` is in seconds, monotonic."""
        self._clock = clock
        self._largest_bytes = largest_bytes
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._distrusted_at = clock()
        self.bytes = 0

    def trusted(self, digest: str) -> Entry | None:
        """Return the entry if the store need not be asked: it confirmed it within the last second."""
        seen = self._seen.get(digest)
        return None if seen is None or not self.trusts(seen.confirmed_at) else self._fresh(digest, seen)

    def trusts(self, moment: float) -> bool:
        """Whether what the store said at a moment can be believed without asking again.

        A flush waits 1.5 s for an orchestrator that does not say that it knows: one that was frozen meanwhile
        believes nothing from before.
        """
        return moment > max(self._distrusted_at, self._clock() - _TRUSTED_S)

    def of_generations(self, digest: str, generations: Generations) -> Entry | None:
        """Return the entry if it was written under `generations`, which the store has just told."""
        seen = self._seen.get(digest)
        return None if seen is None or seen.generations != generations else self._fresh(digest, seen)

    def put(self, digest: str, entry: Entry, generations: Generations, *, confirmed_at: float, fresh_s: float) -> None:
        """Keep an entry.

        Args:
            digest: where.
            entry: what.
            generations: that it is valid under.
            confirmed_at: a moment before the store was asked.
            fresh_s: how long from then on it is fresh.
        """
        self._drop(digest)
        self._drop_old()
        self._seen[digest] = _Seen(entry, generations, confirmed_at, confirmed_at + fresh_s)
        self.bytes += _size(entry)
        while self.bytes > self._largest_bytes:
            self._drop(next(iter(self._seen)))

    def distrust(self) -> None:
        """Ask the store again for whatever was confirmed before now."""
        self._distrusted_at = self._clock()

    def _fresh(self, digest: str, seen: _Seen) -> Entry | None:
        if self._clock() >= seen.fresh_until:
            self._drop(digest)
            return None
        self._seen.move_to_end(digest)
        return seen.entry

    def _drop_old(self) -> None:
        """Drop what nobody has used since before it was old: else it would stay until there is no room."""
        now = self._clock()
        while self._seen and next(iter(self._seen.values())).fresh_until <= now:
            self._drop(next(iter(self._seen)))

    def _drop(self, digest: str) -> None:
        if (seen := self._seen.pop(digest, None)) is not None:
            self.bytes -= _size(seen.entry)


def _size(entry: Entry) -> int:
    return len(entry.result) + _OVERHEAD_BYTES
