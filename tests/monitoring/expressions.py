"""The names of metrics in PromQL, found without a parser: what is left when everything else is taken away."""

import re
from typing import Final

_NOISE: Final = re.compile(
    r"""
    "[^"]*"                                                             # strings
    | \{[^}]*\}                                                         # label matchers
    | \[[^\]]*\]                                                        # ranges
    | \b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)   # lists of labels
    | \b[A-Za-z_]\w*(?=\s*(?:\(|by\b|without\b))                        # functions and aggregations
    | \b(?:and|or|unless|bool|offset|inf|nan)\b                         # words of the language
    | (?<![\w:])\d[\w.]*                                                # numbers and durations
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NAME: Final = re.compile(r"[A-Za-z_:][\w:]*")


def metric_names(expression: str) -> set[str]:
    """Return the names of the metrics in a PromQL expression."""
    return set(_NAME.findall(_NOISE.sub(" ", expression)))
