"""`busbar keys`: the keys file of callers."""

import re
import sys
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from services.cli.errors import CommandError, report
from services.cli.lazy import CommandGroup
from services.cli.options import AsJson
from services.cli.tables import print_table
from services.runtime.auth.keys import Key, KeysFileError, add_key, list_keys, revoke_key
from services.runtime.text import json_text

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_LENGTH = re.compile(r"(\d{1,6})([mhd])\Z", re.ASCII)


class ScopeName(StrEnum):
    """The scopes that a key can have."""

    QUERY = "query"
    ADMIN = "admin"


app = typer.Typer(cls=CommandGroup, rich_markup_mode=None, add_completion=False)


@app.callback()
def keys() -> None:
    """Add, list and revoke the keys of callers.

    The file holds no key, only its SHA-256. What is changed is in force within 5 s.

    Example:

        BUSBAR_KEYS_FILE=keys.jsonl busbar keys add reports --server database_mcp --rate 20
    """


KeysFile = Annotated[
    Path,
    typer.Option("--keys-file", metavar="FILE", envvar="BUSBAR_KEYS_FILE", help="The keys file.", show_default=False),
]
KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id, shown in logs.", show_default=False)]


@app.command()
def add(
    *,
    key_id: KeyId,
    keys_file: KeysFile,
    scope: Annotated[list[ScopeName] | None, typer.Option(help="May be repeated; default: query.")] = None,
    server: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="A server it may use; may be repeated; default: *.")
    ] = None,
    tool: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="A tool, prompt or URI it may use; may be repeated; default: *."),
    ] = None,
    rate: Annotated[float | None, typer.Option(metavar="N", help="Queries a second; default: no limit.")] = None,
    max_in_flight: Annotated[int | None, typer.Option(metavar="N", help="Queries at once; default: no limit.")] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="WHEN", help="2030-12-31, 2030-12-31T12:00Z, or from now: 30d, 12h, 15m.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once.

    Example:

        busbar keys add reports --server database_mcp --tool 'list_*' --rate 20 --expires 90d
    """
    try:
        text = add_key(
            keys_file,
            key_id,
            scopes=[one.value for one in scope or [ScopeName.QUERY]],
            servers=server or ("*",),
            tools=tool or ("*",),
            rate_per_s=rate,
            max_in_flight=max_in_flight,
            expires=None if expires is None else _moment(expires, datetime.now(UTC)),
        )
    except KeysFileError as error:
        raise CommandError(str(error)) from None
    print(json_text({"id": key_id, "key": text}) if as_json else text)
    if sys.stdout.isatty():
        report("Keep it: it is not stored and cannot be shown again.")


@app.command("list")
def show(keys_file: KeysFile, as_json: AsJson = False) -> None:
    """List the keys: their ids and rights, never the keys themselves.

    Example:

        busbar keys list --keys-file keys.jsonl
    """
    try:
        listed = list_keys(keys_file)
    except KeysFileError as error:
        raise CommandError(str(error)) from None
    if as_json:
        print(json_text({"keys": [key.model_dump(mode="json", exclude={"sha256"}) for key in listed]}))
        return
    now = datetime.now(UTC)
    columns = ("ID", "SCOPES", "SERVERS", "TOOLS", "RATE/S", "IN FLIGHT", "EXPIRES")
    print_table(columns, [_row(key, now) for key in listed])


@app.command()
def revoke(key_id: KeyId, keys_file: KeysFile) -> None:
    """Revoke a key.

    Example:

        busbar keys revoke reports --keys-file keys.jsonl
    """
    try:
        revoke_key(keys_file, key_id)
    except KeysFileError as error:
        raise CommandError(str(error)) from None
    report(f"revoked {key_id}")


def _row(key: Key, now: datetime) -> tuple[str, ...]:
    expires = "never"
    if key.expires is not None:
        expires = key.expires.astimezone(UTC).isoformat(timespec="minutes").replace("+00:00", "Z")
        expires += " (expired)" if key.expires <= now else ""
    rate = "no limit" if key.rate_per_s is None else f"{key.rate_per_s:g}"
    in_flight = "no limit" if key.max_in_flight is None else str(key.max_in_flight)
    return (key.id, " ".join(key.scopes), " ".join(key.servers), " ".join(key.tools), rate, in_flight, expires)


def _moment(text: str, now: datetime) -> datetime:
    """Return the moment that `text` names: a date, a date and time (UTC unless it says otherwise), or a length."""
    try:
        if length := _LENGTH.match(text):
            return now + timedelta(**{_UNITS[length[2]]: int(length[1])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"--expires takes a date such as 2030-12-31, or 30d, not {text!r}") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= now:
        raise typer.BadParameter(f"--expires is in the past: {text}")
    return moment
