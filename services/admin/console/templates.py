"""The console's templates. Whatever a text says, it stays text: escaped, and without characters that turn or hide."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.admin.console.static_files import StaticFile
from services.runtime.text import plain, summary

_FOLDER: Final = Path(__file__).parent / "templates"
_LONGEST_DESCRIPTION: Final = 160


class Templates:
    """Renders them; a name that a template does not know is an error, and not nothing."""

    def __init__(self, files: Mapping[str, StaticFile]) -> None:
        """Pages refer to `files`."""
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_harmless,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(clock=clock, described=_described, percent=_percent, all_of=_all_of)
        self._environment.globals["urls"] = {name: file.url for name, file in files.items()}

    def render(self, template: str, **context: Any) -> str:
        """Return a template's HTML."""
        return self._environment.get_template(template).render(context)


def _harmless(value: object) -> object:
    """What is put into a page: no control characters, nothing that turns the direction of writing."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def clock(moment: datetime | float | None) -> Markup:
    """A moment as it is shown: in UTC, with its date only where that is not today's."""
    if moment is None:
        return Markup("–")
    at = moment.astimezone(UTC) if isinstance(moment, datetime) else datetime.fromtimestamp(moment, UTC)
    pattern = "%H:%M:%S" if at.date() == datetime.now(UTC).date() else "%Y-%m-%d %H:%M"
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(timespec="seconds"), at.strftime(pattern))


def _described(text: object) -> str:
    return summary(text, longest=_LONGEST_DESCRIPTION) if isinstance(text, str) else ""


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _all_of(names: Iterable[str]) -> str:
    return ", ".join(names)
