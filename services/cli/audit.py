"""`busbar audit`: whether the chain of the audit log holds."""

import os
from pathlib import Path
from typing import Annotated

import typer

from services.cli.errors import DONE, FAILED, CommandError, report
from services.cli.lazy import CommandGroup
from services.cli.location import DEFAULT_STATE_DIR
from services.cli.options import AsJson, StateDir
from services.runtime.audit_chain import Verdict, verify
from services.runtime.text import json_text, one_line

app = typer.Typer(cls=CommandGroup, rich_markup_mode=None, add_completion=False)

File = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE",
        help="Default: BUSBAR_AUDIT_FILE, else audit.jsonl in the state folder.",
        show_default=False,
    ),
]


@app.callback()
def audit() -> None:
    """Check the log of who changed what.

    Example:

        busbar audit verify
    """


@app.command("verify")
def verify_log(file: File = None, as_json: AsJson = False, state_dir: StateDir = None) -> int:
    """Tell whether each line of the audit log follows from the one before.

    A line that was changed, put in or taken out shows: status 1. Lines that are missing at the very end do not;
    against that, keep a copy of the log elsewhere.

    Example:

        busbar audit verify
    """
    path = file or _default_file(state_dir)
    try:
        with path.open("rb") as log:
            verdict = verify(log)
    except OSError as error:
        raise CommandError(f"{path}: cannot be read: {error.strerror}") from None
    if as_json:
        broken_at, is_end_torn = verdict.broken_at, verdict.is_end_torn
        told = {"ok": broken_at is None, "lines": verdict.whole, "broken_at": broken_at, "is_end_torn": is_end_torn}
        print(json_text(told))
    elif verdict.broken_at is None:
        print(one_line(f"{path}: the chain holds, {_lines(verdict)}"))
    else:
        at = verdict.broken_at
        report(f"{path}: the chain is broken at line {at}: it does not follow from the {_lines(verdict)} before it")
    return DONE if verdict.broken_at is None else FAILED


def _default_file(state_dir: Path | None) -> Path:
    if state_dir is None and (named := os.environ.get("BUSBAR_AUDIT_FILE")):
        return Path(named)
    return (state_dir or Path(os.environ.get("BUSBAR_STATE_DIR") or DEFAULT_STATE_DIR)) / "audit.jsonl"


def _lines(verdict: Verdict) -> str:
    lines = f"{verdict.whole} line{'' if verdict.whole == 1 else 's'}"
    return f"{lines} and a part of one" if verdict.is_end_torn else lines
