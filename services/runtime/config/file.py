"""Finds the configuration file and loads its public part."""

import os
from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from services.runtime.config.document import Document, read_document
from services.runtime.config.errors import ConfigError, validation_problems
from services.runtime.config.policy import Policy, ToolPolicy

DEFAULT_NAME = "busbar.yaml"


def config_path(path: str | Path | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the absolute path of the file: the argument, else `BUSBAR_CONFIG`, else `busbar.yaml` in this folder."""
    return Path(path or environ.get("BUSBAR_CONFIG") or DEFAULT_NAME).absolute()


def load_policy(path: str | Path | None = None) -> Policy:
    """Return the public part of the servers that are served; private keys are not looked into.

    Raises:
        ConfigError: a line for everything that is wrong; nothing is applied.
    """
    return checked_policy(read_document(config_path(path))).served()


def public_text(path: str | Path | None = None) -> str:
    """Return the configuration as YAML without its private keys, for the services that must not have them.

    Raises:
        ConfigError: as `load_policy` does.
    """
    document = read_document(config_path(path))
    checked_policy(document)
    servers = {name: dict(entry.public) for name, entry in document.entries.items()}
    return yaml.safe_dump({"servers": servers}, sort_keys=False, allow_unicode=True)


def checked_policy(document: Document) -> Policy:
    """Return the public part of `document`, disabled servers included.

    Raises:
        ConfigError: it is not valid.
    """
    try:
        return Policy.model_validate({"servers": {name: entry.public for name, entry in document.entries.items()}})
    except ValidationError as error:
        problems = validation_problems(error, located=document.located, known=ToolPolicy.model_fields, private=False)
        raise ConfigError(document.path, problems) from None
