"""Whether a URI may come from a template (pure)."""

import re
from typing import Final

_EXPRESSION: Final = re.compile(r"\{[^{}]*\}")


class UriTemplate:
    """A template of RFC 6570 whose expressions may stand for anything: its server decides what it takes.

    Matching takes time linear in the URI: the template is its server's word, and may be hostile.
    """

    def __init__(self, template: str) -> None:
        self._first, *self._rest = _EXPRESSION.split(template)
        self.weight = len(self._first) + sum(map(len, self._rest))
        """How many characters of a URI it settles: of two that match, the one with more says more."""

    def matches(self, uri: str) -> bool:
        """Whether there are values for its expressions with which it becomes `uri`."""
        if not self._rest:
            return uri == self._first
        *inner, last = self._rest
        if not uri.startswith(self._first) or not uri.endswith(last):
            return False
        at = len(self._first)
        for literal in inner:
            found = uri.find(literal, at)
            if found < 0:
                return False
            at = found + len(literal)
        return at <= len(uri) - len(last)
