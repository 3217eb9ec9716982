"""A reload by the supervisor: what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.supervisor.configuration import read_whole
from services.supervisor.pinning import PinnedFiles
from services.supervisor.reloading import Reloading, Standing
from services.supervisor.state_folder import StateFolder

pytestmark = pytest.mark.anyio


class FakeCrew:
    """Knows which versions have workers."""

    def __init__(self) -> None:
        self.teams: list[tuple[str, str]] = [("a", "1.0.0")]

    def versions(self, server: str) -> list[str]:
        return [version for name, version in self.teams if name == server]

    def begin(self, server: str, version: str, *_: object) -> None:
        self.teams.append((server, version))


def write(path: Path, *servers: str) -> Path:
    path.write_text(json.dumps({"servers": {name: {"command": ["x"]} for name in servers}}))
    path.chmod(0o600)
    return path


async def test_a_server_that_is_still_being_stopped_is_not_added_again(tmp_path: Path) -> None:
    path = write(tmp_path / "busbar.json", "a")
    state = StateFolder(tmp_path / "state")
    state.make()
    fake = FakeCrew()
    fake.teams.append(("b", "1.0.0"))  # taken out by the reload before, and not gone yet
    crew: Any = fake
    reloading = Reloading(
        Standing(read_whole(path), PinnedFiles(state)), crew, path, instance="s1", spawn=lambda work: work.close()
    )
    digest = read_whole(write(path, "a", "b")).policy.digest()
    prepared = await reloading.prepare()
    assert prepared.problems == ["servers.b: is still being stopped; try again in a moment"]
    assert await reloading.apply(digest) is None
    fake.teams.remove(("b", "1.0.0"))
    assert (await reloading.prepare()).problems == []
    assert await reloading.apply(digest) is not None
    assert fake.versions("b") != []
