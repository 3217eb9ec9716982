"""Which tools are meant by some words: BM25 over names and descriptions, the same for the same catalogue (pure).

A word of a name counts as several, as fields do in BM25F. Source: S. Robertson, H. Zaragoza, "The Probabilistic
Relevance Framework: BM25 and Beyond", 2009.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from bus_schemas.workers import Definition

_K1: Final = 1.2
_B: Final = 0.75
_WORD: Final = re.compile(r"[^\W_]+")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OF_NAME, _OF_TITLE, _OF_TEXT = 5, 3, 1
_MOST_WORDS: Final = 2000
"""Of a tool; a description is its server's word, and may be a book."""
_MOST_ASKED: Final = 32


class Entry(NamedTuple):
    """A tool, and whose it is."""

    server: str
    name: str
    """As its server calls it."""
    definition: Definition


class _Posting(NamedTuple):
    place: int
    weight: float


class ToolIndex:
    """Finds tools; made anew when the catalogue changes."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = sorted(entries, key=lambda entry: (entry.server, entry.name))
        counts = [_counted(entry) for entry in self._entries]
        lengths = [sum(count.values()) for count in counts]
        mean = sum(lengths) / len(lengths) if lengths else 1.0
        self._postings: dict[str, list[_Posting]] = {}
        for place, count in enumerate(counts):
            norm = _K1 * (1 - _B + _B * lengths[place] / mean)
            for word, times in count.items():
                weight = times * (_K1 + 1) / (times + norm)
                self._postings.setdefault(word, []).append(_Posting(place, weight))

    def find(self, words: str, may_use: Callable[[Entry], bool]) -> Iterator[Entry]:
        """Yield the tools that may be used and have one of the words, the best first; without words all, by name."""
        asked = list(dict.fromkeys(_words(words)))[:_MOST_ASKED]
        if not asked:
            yield from filter(may_use, self._entries)
            return
        scores: dict[int, float] = {}
        for word in asked:
            postings = self._postings.get(word, [])
            rarity = math.log(1 + (len(self._entries) - len(postings) + 0.5) / (len(postings) + 0.5))
            for place, weight in postings:
                scores[place] = scores.get(place, 0.0) + rarity * weight
        best_first = sorted(scores, key=lambda place: (-scores[place], place))
        yield from filter(may_use, (self._entries[place] for place in best_first))


def _counted(entry: Entry) -> Mapping[str, int]:
    definition = entry.definition
    count: Counter[str] = Counter()
    for weight, text in [
        (_OF_NAME, entry.name),
        (_OF_TITLE, definition.get("title")),
        (_OF_TITLE, entry.server),
        (_OF_TEXT, definition.get("description")),
        *((_OF_TEXT, text) for text in _of_arguments(definition.get("inputSchema"))),
    ]:
        if isinstance(text, str):
            for number, word in enumerate(_words(text)):
                if number == _MOST_WORDS:
                    break
                count[word] += weight
    return count


def _of_arguments(schema: Any) -> Iterator[str]:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    for name, about in (properties if isinstance(properties, dict) else {}).items():
        yield str(name)
        if isinstance(about, dict) and isinstance(about.get("description"), str):
            yield about["description"]


def _words(text: str) -> Iterator[str]:
    """Yield the words of a text or an identifier, without case, and without the s of a plural."""
    for found in _WORD.finditer(text):
        for part in _CAMEL.split(found[0]):
            word = part.casefold()
            yield word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
