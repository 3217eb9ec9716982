"""Words that stand for something, found however they are written."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Generic, TypeVar

Meaning = TypeVar("Meaning")


class Vocabulary(Generic[Meaning]):
    """Words and their meanings; upper and lower case and extra blanks do not matter."""

    def __init__(self, meanings: Mapping[str, Meaning]) -> None:
        self._meanings = {_plain(word): meaning for word, meaning in meanings.items()}

    def find(self, word: str) -> Meaning | None:
        """Return what a word means, or None."""
        return self._meanings.get(_plain(word))

    def similar(self, word: str) -> list[str]:
        """Return up to three known words that are spelled alike, the closest first."""
        return get_close_matches(_plain(word), self._meanings, n=3)


def _plain(word: str) -> str:
    return " ".join(word.casefold().split())
