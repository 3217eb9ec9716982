"""Text and JSON of servers, made harmless for terminals and pages."""

import json
import re

_ESCAPE_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    # OSC, DCS and the like: titles, links, the clipboard. Its text ends at any control character, so that many
    # unfinished ones take no quadratic time.
    r"|(?:\x1b[PX\]^_]|[\x90\x98\x9d-\x9f])[^\x00-\x1f\x7f-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# Besides controls: what turns the direction of writing, and invisible tags. Both make text look like another.
_DECEPTIVE = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f"
_UNWANTED = re.compile(f"[\x00-\x08\x0e-\x1f\x7f-\x9f{_DECEPTIVE}]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_ESCAPED_IN_JSON = re.compile(f"[\x7f-\x9f\u2028\u2029\ud800-\udfff{_DECEPTIVE}]")


def plain(text: str) -> str:
    """Return `text` with line ends and tabs, but no other control character and no escape sequence."""
    text = _LINE_ENDS.sub("\n", _ESCAPE_SEQUENCES.sub("", text))
    return _SURROGATES.sub("\ufffd", _UNWANTED.sub("", text))


def one_line(text: str) -> str:
    """Return `text` as `plain` does, on one line, with single spaces."""
    return " ".join(plain(text).split())


def summary(text: str, *, longest: int = 120) -> str:
    """Return the first line of `text` that says something, at most `longest` characters of it."""
    first = next((line for line in map(one_line, plain(text).splitlines()) if line), "")
    return first if len(first) <= longest else first[: longest - 1] + "…"


def harmless_json(text: str) -> str:
    """Return the JSON `text` with every character escaped that a terminal could obey; its value is the same."""
    return _ESCAPED_IN_JSON.sub(_escaped, text.replace("\r", " "))


def json_text(value: object, *, indent: int | None = None) -> str:
    """Return `value` as harmless JSON, on one line if `indent` is None."""
    return harmless_json(json.dumps(value, ensure_ascii=False, indent=indent))


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match.group())[1:-1]
