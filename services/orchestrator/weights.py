"""Which version gets the next call: smooth weighted round-robin, exact to one call."""

from collections.abc import Collection, Mapping


class SmoothWeightedRoundRobin:
    """Deals calls out in proportion to weights, evenly spread: {a: 3, b: 1} gives a a b a.

    Source: the upstream balancer of nginx (commit 52327e0, 2012).
    """

    def __init__(self) -> None:
        self._current: dict[str, float] = {}

    def choose(self, weights: Mapping[str, float]) -> str:
        """Return the key whose turn it is. `weights` must have a positive one."""
        total = sum(weights.values())
        for key in [key for key in self._current if key not in weights]:
            del self._current[key]
        for key, weight in weights.items():
            self._current[key] = self._current.get(key, 0.0) + weight
        chosen = max(weights, key=lambda key: self._current[key] if weights[key] > 0 else float("-inf"))
        self._current[chosen] -= total
        return chosen


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
