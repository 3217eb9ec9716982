"""What the API answered to an order, in words for whoever gave it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from services.admin.console.api_calls import Reply
from services.admin.console.orders import Order

Tone = Literal["done", "warning"]

_WRONG: Final = {
    "required": "is needed",
    "pattern": "is empty, or not of the form that is asked for",
    "type": "is not of the kind that is asked for",
    "minimum": "is too small",
    "maximum": "is too large",
    "maxLength": "is too long",
    "minLength": "is too short",
}
"""JSON Schema's keywords."""
_OTHERWISE_WRONG: Final = "cannot be taken"
_OF_A_RELOAD: Final = {
    "added": "Added",
    "removed": "Removed",
    "changed": "Changed",
    "undeployed": "Waiting for `busbar deploy`",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """What became of an order."""

    tone: Tone
    text: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an order was not obeyed."""

    title: str
    detail: str
    by_field: Mapping[str, str]
    """What is wrong with a field of the form, by its name."""
    others: tuple[str, ...]
    """What else is wrong."""


def notice(order: Order, targets: Mapping[str, str], reply: Reply) -> Notice:
    """Return what was done; a warning where somebody has not said in time that they have heard it."""
    told = reply.document
    missing = _names(told, "missing")
    if told.get("applied") is False:
        return Notice("warning", f"Nothing was changed: {', '.join(missing)} did not answer.")
    parts = [order.done.format_map(targets)]
    if "cleared" in told:
        parts.append(f"{told['cleared']} entries are gone.")
    changes = {words: _names(told, key) for key, words in _OF_A_RELOAD.items()}
    parts += [f"{words}: {', '.join(names)}." for words, names in changes.items() if names]
    if "applied" in told and len(parts) == 1:
        parts.append("Nothing in it is new.")
    if told.get("retained") is False:
        parts.append("The store has not taken it: it is lost if all processes end before the store is back.")
    if "acknowledged_by" in told:
        heard = len(_names(told, "acknowledged_by"))
        parts.append(f"Acknowledged by {heard} of {heard + len(missing)}.")
    if missing:
        parts.append(f"Not heard in time from {', '.join(missing)}.")
    return Notice("warning" if missing or told.get("retained") is False else "done", " ".join(parts))


def refusal(order: Order, reply: Reply) -> Refusal:
    """Return why it was refused, in the words of our own table of errors."""
    names = {field.body_key: field.name for field in order.fields}
    by_field: dict[str, str] = {}
    others = []
    for wrong in reply.document.get("errors") or ():
        name = names.get(str(wrong["pointer"]).split("/")[1]) if "/" in wrong["pointer"] else None
        words = wrong.get("detail") or _WRONG.get(wrong["keyword"], _OTHERWISE_WRONG)
        if name is None:
            others.append(wrong.get("detail") or f"{wrong['pointer']} {words}")
        else:
            by_field[name] = words
    return Refusal(reply.document["title"], reply.document["detail"], by_field, tuple(others))


def _names(told: Mapping[str, Any], key: str) -> list[str]:
    return [str(name) for name in told.get(key) or ()]
