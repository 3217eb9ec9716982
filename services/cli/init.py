"""`busbar init`: the folder of a deployment with containers, with all its secrets."""

import re
from pathlib import Path
from typing import Annotated

import typer

from services.cli.config_errors import config_failure
from services.cli.deployment.deployment import DeploymentError, Exchange, deploy_folder
from services.cli.errors import CommandError, report
from services.cli.options import AsJson
from services.runtime.auth.keys import KeysFileError
from services.runtime.config.errors import ConfigError
from services.runtime.text import json_text

_CALLER = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The deployment's folder.", show_default=False)],
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The servers; default: the file that the deployment has.", show_default=False
        ),
    ] = None,
    caller: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Somebody who asks over NATS; may be repeated; the first, if none is named: bus."
        ),
    ] = None,
    new_nkeys: Annotated[
        bool, typer.Option("--new-nkeys", help="Make new keys for NATS, and let the old ones in as well.")
    ] = False,
    drop_old_nkeys: Annotated[bool, typer.Option("--drop-old-nkeys", help="Let the old ones in no more.")] = False,
    tls: Annotated[bool, typer.Option("--tls", help="Reach the store over TLS from now on: see deploy/tls.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the folder of a deployment with containers, with its secrets.

    It is what docker-compose.prod.yml mounts.

    Keys and permissions for NATS and Valkey, the configuration without its private keys for the services that must
    not have them, two first keys for callers over HTTP (shown this once), and an .env.

    Run it again after a change of the servers: it keeps what is there and adds what is missing. Our containers run as
    you, or, if you are root, as the user 10001: the files are theirs.

    Example:

        busbar init deployment --config deploy/busbar.yaml
        docker compose -f docker-compose.prod.yml --env-file deployment/.env up -d --wait
    """
    if new_nkeys and drop_old_nkeys:
        raise typer.BadParameter("--new-nkeys and --drop-old-nkeys are two steps: see docs/operations.md")
    if not all(map(_CALLER.fullmatch, caller or ())):
        raise typer.BadParameter("--caller takes up to 64 letters, digits, _ and -")
    exchange = Exchange.NEW if new_nkeys else Exchange.DROP_OLD if drop_old_nkeys else Exchange.NOTHING
    try:
        made = deploy_folder(folder, config=config, callers=caller or [], exchange=exchange, tls=tls)
    except ConfigError as error:
        raise config_failure(error) from None
    except (DeploymentError, KeysFileError) as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.filename or folder}: {error.strerror}") from None
    if as_json:
        print(json_text({"deployment": str(folder.absolute()), "keys": made}))
        return
    for name, key in made.items():
        print(f"{name} {key}")
    if made:
        report("Keep these keys: they are not stored and cannot be shown again.")
