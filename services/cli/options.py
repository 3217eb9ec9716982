"""The options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
StateDir = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        metavar="DIR",
        help="State folder of the `busbar up` to use, whatever BUSBAR_URL says; else BUSBAR_STATE_DIR, else .busbar.",
    ),
]
