"""Which version gets the next call: smooth weighted round-robin, exact to one call."""

from collections.abc import Mapping


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
