"""The deployment that all tests of this folder ask."""

from collections.abc import Iterator

import pytest

from tests.containers.deployment import Deployment, deployed
from tests.support.processes import REPOSITORY


@pytest.fixture(scope="package")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Production with the servers of the examples, from nothing: with every check of health passed."""
    with deployed(tmp_path_factory.mktemp("production"), REPOSITORY / "deploy" / "busbar.yaml") as one:
        yield one
