"""What each service finds in its environment: of the operator's variables no more than it has a use for."""

import os
from collections.abc import Mapping
from typing import Final

from services.runtime.processes import child_environment
from services.supervisor.plan import Service

_OF_THE_INTERPRETER: Final = ("PYTHON", "LD_LIBRARY_PATH")
_OF_THE_STORE: Final = frozenset({"BUSBAR_REDIS_URL", "BUSBAR_REDIS_URL_FILE"})
_NOT_FOR_EVERYBODY: Final = _OF_THE_STORE | {"BUSBAR_ADMIN_KEY", "BUSBAR_KEY", "BUSBAR_KEYS_FILE"}
"""The plan gives them to whom they are meant for."""


def service_environment(service: Service, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of a service.

    Args:
        service: whose.
        variables: what each service gets; its own go before them.
    """
    # A worker expands the `${VARIABLES}` of its server's configuration. Nobody else may learn what they hold.
    # The store is nothing to a worker.
    ours = _settings() if service.server is None else _without(_OF_THE_STORE, os.environ)
    return {**ours, **variables, **service.variables}


def _settings() -> dict[str, str]:
    passed = ("BUSBAR_", "OTEL_", *_OF_THE_INTERPRETER)
    settings = {name: value for name, value in os.environ.items() if name.startswith(passed)}
    return child_environment(_without(_NOT_FOR_EVERYBODY, settings))


def _without(names: frozenset[str], variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in names}
