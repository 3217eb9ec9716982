"""The admin service, as commands find it and read what it answers."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from services.cli.errors import CommandError
from services.cli.http_client import Reply
from services.cli.location import Endpoint, find_system

DocumentT = TypeVar("DocumentT", bound=BaseModel)


def admin_service(state_dir: Path | None) -> Endpoint:
    """Return where it is.

    Raises:
        CommandError: that is not known.
    """
    endpoint = find_system(state_dir).admin
    if endpoint is None:
        raise CommandError("it is not known where the admin service is: set BUSBAR_ADMIN_URL and BUSBAR_ADMIN_KEY")
    return endpoint


def read_reply(model: type[DocumentT], reply: Reply) -> DocumentT:
    """Return what it answered.

    Raises:
        CommandError: the answer is not Busbar's.
    """
    try:
        return model.model_validate(reply.document)
    except ValidationError:
        raise CommandError("the admin service does not answer as Busbar does") from None
