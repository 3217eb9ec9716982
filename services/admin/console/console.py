"""What a request of the console finds."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.admin.console.board import Board
from services.admin.console.static_files import StaticFile
from services.admin.console.templates import Templates
from services.runtime.lifecycle import Lifecycle


@dataclass(frozen=True, slots=True)
class Console:
    """Built by `app`."""

    board: Board
    templates: Templates
    files: Mapping[str, StaticFile]
    life: Lifecycle
