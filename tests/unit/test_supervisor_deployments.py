"""Deployments: what is refused, and which of the two versions is stopped in the end."""

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from bus_schemas.config import DeploymentAnswer, DeployServer, StopVersion
from bus_schemas.rollouts import RolloutWeights
from services.supervisor.configuration import read_whole
from services.supervisor.deployments import Deployments
from services.supervisor.pinning import PinnedFiles
from services.supervisor.reloading import Standing
from services.supervisor.state_folder import StateFolder

pytestmark = pytest.mark.anyio

LATER = 10**14
"""An epoch after any deployment of these tests."""


class FakeCrew:
    """Notes what it is told."""

    workers = 2

    def __init__(self) -> None:
        self.begun: list[tuple[str, str]] = []
        self.ended: list[tuple[str, str]] = []

    def versions(self, server: str) -> list[str]:
        return ["1.0.0", *(version for name, version in self.begun if name == server)]

    def begin(self, server: str, version: str, connection: object, config: Path) -> None:
        self.begun.append((server, version))

    async def end(self, server: str, version: str) -> None:
        self.ended.append((server, version))


class Desk:
    """Deployments, with what they work on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        state = StateFolder(folder / "state")
        state.make()
        self.crew = FakeCrew()
        self.tasks: list[asyncio.Task[None]] = []
        self.standing = Standing(read_whole(self.file("busbar.json", "1.0.0")), PinnedFiles(state))
        crew: Any = self.crew
        self.deployments = Deployments(self.standing, crew, instance="s1", spawn=self._spawn)

    def file(self, name: str, version: str, **more: Any) -> Path:
        path = self.folder / name
        path.write_text(json.dumps({"servers": {"a": {"version": version, "command": ["x"], **more}}}))
        path.chmod(0o600)
        return path

    async def deploy(self, version: str, server: str = "a", **more: Any) -> DeploymentAnswer:
        path = self.file("next.json", version, **more)
        return await self.deployments.deploy(DeployServer(server=server, config_file=str(path)))

    async def hear(self, weights: dict[str, float], *, under_way: bool = False, epoch: int = LATER) -> None:
        self.deployments.take_word(
            RolloutWeights(server="a", weights=weights, under_way=under_way, epoch=epoch, updated_at=0, by="admin1")
        )
        await asyncio.gather(*self.tasks)

    @property
    def version(self) -> str:
        return self.standing.reading.policy.servers["a"].version

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))


async def test_the_old_version_is_stopped_when_the_new_one_has_all(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    answer = await desk.deploy("2.0.0")
    assert (answer.from_version, answer.to_version, answer.workers, answer.problems) == ("1.0.0", "2.0.0", 2, [])
    await desk.hear({"1.0.0": 50, "2.0.0": 50}, under_way=True)
    assert desk.crew.ended == []
    await desk.hear({"1.0.0": 0, "2.0.0": 100})
    assert desk.crew.ended == [("a", "1.0.0")]
    assert desk.version == "2.0.0"


async def test_the_new_version_is_stopped_when_it_has_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.deploy("2.0.0")
    await desk.hear({"1.0.0": 100, "2.0.0": 0})
    assert desk.crew.ended == [("a", "2.0.0")]
    assert desk.version == "1.0.0"


async def test_an_older_word_and_one_of_another_server_end_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.deploy("2.0.0")
    await desk.hear({"1.0.0": 100}, epoch=1)
    assert desk.crew.ended == []


async def test_a_second_order_for_the_same_version_starts_nothing_more(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.deploy("2.0.0")
    assert (await desk.deploy("2.0.0")).to_version == "2.0.0"
    assert desk.crew.begun == [("a", "2.0.0")]


async def test_a_version_that_is_given_up_may_be_deployed_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.deploy("2.0.0")
    desk.deployments.stop_version(StopVersion(server="a", version="1.0.0"))
    assert desk.tasks == []
    desk.deployments.stop_version(StopVersion(server="a", version="2.0.0"))
    await asyncio.gather(*desk.tasks)
    assert desk.crew.ended == [("a", "2.0.0")]
    assert "still being stopped" in (await desk.deploy("2.0.0")).problems[0]
    desk.crew.begun.clear()
    assert (await desk.deploy("2.0.0")).problems == []


@pytest.mark.parametrize(
    ("version", "server", "more", "why"),
    [
        ("1.0.0", "a", {}, "raise it"),
        ("2.0.0", "b", {}, "is not served yet"),
        ("2.0.0", "a", {"timeout_s": "planted"}, "servers.a.timeout_s: "),
        ("2.0.0", "a", {"env": {"A": "${UNSET_HERE}"}}, "servers.a.env"),
    ],
)
async def test_what_cannot_be_deployed_is_refused_with_the_reason(
    tmp_path: Path, version: str, server: str, more: dict[str, Any], why: str
) -> None:
    desk = Desk(tmp_path)
    answer = await desk.deploy(version, server, **more)
    assert len(answer.problems) == 1
    assert why in answer.problems[0]
    assert "planted" not in answer.problems[0]
    assert desk.crew.begun == []


async def test_only_one_version_of_a_server_is_deployed_at_a_time(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.deploy("2.0.0")
    assert "2.0.0 is being deployed" in (await desk.deploy("3.0.0")).problems[0]
