"""What a reload changes, what it leaves to a deploy, and what cannot be done."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.supervisor.configuration import Change, change, deployed, read_whole
from services.supervisor.pinning import PinnedFiles
from services.supervisor.reloading import Standing
from services.supervisor.state_folder import StateFolder

PIPES: dict[str, Any] = {"command": ["x"], "version": "1.0.0"}
WEB: dict[str, Any] = {"command": ["x", "--port", "1"], "url": "http://127.0.0.1:1/mcp"}


def changed(folder: Path, before: dict[str, Any], after: dict[str, Any]) -> Change:
    return change(_read(folder, before), _read(folder, after))


def _read(folder: Path, servers: dict[str, Any]) -> Any:
    path = folder / "busbar.json"
    path.write_text(json.dumps({"servers": servers}))
    path.chmod(0o600)
    return read_whole(path)


def test_servers_are_added_and_removed_and_one_that_is_disabled_is_removed(tmp_path: Path) -> None:
    what = changed(
        tmp_path, {"a": PIPES, "b": PIPES, "c": PIPES}, {"a": PIPES, "c": {**PIPES, "disabled": True}, "d": WEB}
    )
    assert (what.added, what.removed, what.replaced, what.problems) == (["d"], ["b", "c"], [], [])


@pytest.mark.parametrize(
    "more",
    [
        {"command": ["y"]},
        {"env": {"A": "b"}},
        {"cwd": "/"},
        {"session": "caller"},
        {"max_in_flight": 3},
        {"era": "legacy"},
    ],
)
def test_workers_are_replaced_where_they_would_begin_in_another_way(tmp_path: Path, more: dict[str, Any]) -> None:
    assert changed(tmp_path, {"a": PIPES}, {"a": {**PIPES, **more}}).replaced == ["a"]


@pytest.mark.parametrize("more", [{"timeout_s": 3}, {"priority": 3}, {"tools": {"t": {"cache_ttl_s": 3}}}])
def test_workers_stay_where_only_the_policy_of_calls_is_another(tmp_path: Path, more: dict[str, Any]) -> None:
    assert changed(tmp_path, {"a": PIPES}, {"a": {**PIPES, **more}}).replaced == []


def test_a_file_in_another_folder_says_the_same_of_a_server_at_a_url(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    servers = {"a": {"url": "http://127.0.0.1:1/mcp"}}
    assert change(_read(tmp_path, servers), _read(tmp_path / "other", servers)).replaced == []


def test_another_command_at_the_same_url_cannot_be_started_beside_the_first(tmp_path: Path) -> None:
    assert changed(tmp_path, {"a": WEB}, {"a": WEB}).problems == []
    assert changed(tmp_path, {"a": WEB}, {"a": {**WEB, "url": "http://127.0.0.1:2/mcp"}}).problems == []
    (problem,) = changed(tmp_path, {"a": WEB}, {"a": {**WEB, "command": ["y"]}}).problems
    assert problem.startswith("servers.a.command: ")


def test_another_version_keeps_its_workers_until_it_is_deployed_and_gets_the_new_policy(tmp_path: Path) -> None:
    after = {"version": "2.0.0", "command": ["y"], "timeout_s": 3}
    what = changed(tmp_path, {"a": PIPES}, {"a": after})
    assert (what.undeployed, what.replaced, what.problems) == (["a"], [], [])
    assert what.reading.policy.servers["a"].version == "1.0.0"
    assert what.reading.policy.servers["a"].timeout_s == 3
    assert what.reading.connections["a"].command == ("x",)
    entry = what.reading.entries["a"]
    assert (entry["version"], entry["command"], entry["timeout_s"]) == ("1.0.0", ["x"], 3)


def test_a_deployed_version_is_in_force_and_a_reload_of_the_older_file_leaves_it(tmp_path: Path) -> None:
    before = _read(tmp_path, {"a": PIPES, "b": PIPES})
    file = _read(tmp_path, {"a": {"version": "2.0.0", "command": ["y"], "alternates": ["z"]}, "z": PIPES})
    in_force = deployed(before, file, "a")
    assert in_force.policy.servers.keys() == {"a", "b"}
    assert in_force.policy.servers["a"].version == "2.0.0"
    assert change(in_force, before).undeployed == ["a"]
    assert change(in_force, before).reading.connections["a"].command == ("y",)


def test_workers_of_a_deployed_version_find_what_is_in_force_now(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.make()
    before = _read(tmp_path, {"a": PIPES})
    files = PinnedFiles(folder)
    standing = Standing(before, files)
    file = _read(tmp_path, {"a": {"version": "2.0.0", "command": ["y"]}})
    path = files.write_for("a", "2.0.0", file.entries["a"])
    assert _pinned(standing.path)["a"]["version"] == "1.0.0"
    standing.replace(deployed(before, file, "a"))
    assert _pinned(standing.path)["a"]["version"] == "2.0.0"
    later = _read(tmp_path, {"a": {"version": "2.0.0", "command": ["y"], "timeout_s": 3}})
    standing.replace(change(standing.reading, later).reading)
    assert _pinned(path)["a"]["timeout_s"] == 3
    files.remove_for("a", "2.0.0")
    assert not path.exists()


def test_the_workers_file_is_valid_although_an_alternate_is_gone(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.make()
    reading = _read(tmp_path, {"a": {**PIPES, "alternates": ["b"], "group": "g", "priority": 3}, "b": PIPES})
    path = PinnedFiles(folder).write({"a": reading.entries["a"]})
    assert read_whole(path).policy.servers.keys() == {"a"}


def _pinned(path: Path) -> Any:
    return json.loads(path.read_text())["servers"]
