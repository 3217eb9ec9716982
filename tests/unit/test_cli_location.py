"""How commands find the system."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.errors import CommandError
from services.cli.location import find_system

STATE = {
    "orchestrators": ["http://127.0.0.1:8080", "http://127.0.0.1:8083"],
    "health": "http://127.0.0.1:8081",
    "admin": "http://127.0.0.1:8082",
    "nats": "nats://user:secret@127.0.0.1:4222",
    "redis": "redis://:secret@127.0.0.1:6379",
    "keys": {"query": "bb_query", "admin": "bb_admin"},
    "pids": {"nats": 121},
}


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    (tmp_path / "state.json").write_text(json.dumps({**STATE, "supervisor": os.getpid()}))
    return tmp_path


def test_the_state_folder_tells_everything(state_dir: Path) -> None:
    system = find_system(state_dir, {})
    assert system.orchestrator is not None
    assert (system.orchestrator.urls, system.orchestrator.key) == (STATE["orchestrators"], "bb_query")
    assert system.admin is not None
    assert (system.admin.urls, system.admin.key) == (["http://127.0.0.1:8082"], "bb_admin")
    assert system.health is not None
    assert system.health.key is None
    assert system.nats_url == STATE["nats"]
    assert system.run is not None
    assert system.run.shown == STATE  # what `up --json` printed, and no more


def test_the_folder_may_come_from_a_variable(state_dir: Path) -> None:
    assert find_system(None, {"BUSBAR_STATE_DIR": str(state_dir)}).need_orchestrator().key == "bb_query"


def test_a_variable_wins_over_the_state_folder_and_its_keys_stay_there(state_dir: Path) -> None:
    environ = {"BUSBAR_STATE_DIR": str(state_dir), "BUSBAR_URL": "https://gateway.example/"}
    system = find_system(None, environ)
    assert system.need_orchestrator().urls == ["https://gateway.example"]
    assert system.need_orchestrator().key is None
    assert system.run is None
    assert system.admin is None


def test_a_key_of_the_environment_wins_over_the_state_folders(state_dir: Path) -> None:
    environ = {"BUSBAR_STATE_DIR": str(state_dir), "BUSBAR_KEY": "mine"}
    assert find_system(None, environ).need_orchestrator().key == "mine"


def test_the_url_of_the_running_system_keeps_its_key(state_dir: Path) -> None:
    environ = {"BUSBAR_STATE_DIR": str(state_dir), "BUSBAR_URL": "http://127.0.0.1:8083"}
    assert find_system(None, environ).need_orchestrator().key == "bb_query"


def test_another_admin_url_does_not_get_the_folders_admin_key(state_dir: Path) -> None:
    environ = {"BUSBAR_STATE_DIR": str(state_dir), "BUSBAR_ADMIN_URL": "http://admin.example"}
    admin = find_system(None, environ).admin
    assert admin is not None
    assert (admin.urls, admin.key) == (["http://admin.example"], None)


def test_an_explicit_folder_wins_over_the_variables(state_dir: Path) -> None:
    environ = {"BUSBAR_URL": "http://other.example", "BUSBAR_ADMIN_URL": "http://other.example"}
    system = find_system(state_dir, environ)
    assert system.need_orchestrator().urls == STATE["orchestrators"]
    assert system.admin is not None
    assert system.admin.urls == ["http://127.0.0.1:8082"]


def test_a_key_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\n")
    environ = {"BUSBAR_URL": "http://127.0.0.1:1", "BUSBAR_KEY_FILE": str(tmp_path / "key")}
    assert find_system(None, environ).need_orchestrator().key == "from a file"


@pytest.mark.parametrize("url", ["gateway:8080", "ftp://x", "http:///x", "http://x:99999", "http://x y"])
def test_a_url_that_is_none_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(CommandError, match="BUSBAR_URL must be a URL") as caught:
        find_system(None, {"BUSBAR_URL": url, "BUSBAR_STATE_DIR": "/nonexistent"})
    assert url not in str(caught.value)


def test_a_key_with_a_line_end_in_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="BUSBAR_KEY holds"):
        find_system(None, {"BUSBAR_URL": "http://x", "BUSBAR_KEY": "a\nb", "BUSBAR_STATE_DIR": str(tmp_path)})


def test_without_anything_the_user_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"busbar up.*BUSBAR_URL"):
        find_system(None, {"BUSBAR_STATE_DIR": str(tmp_path)})
    with pytest.raises(CommandError, match="state folder"):
        find_system(tmp_path, {})


def test_only_the_health_service_may_be_known(tmp_path: Path) -> None:
    system = find_system(None, {"BUSBAR_STATE_DIR": str(tmp_path), "BUSBAR_HEALTH_URL": "http://127.0.0.1:8081"})
    with pytest.raises(CommandError, match="BUSBAR_URL"):
        system.need_orchestrator()


def test_a_run_that_was_killed_is_not_asked(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(10)
    (tmp_path / "state.json").write_text(json.dumps({**STATE, "supervisor": ended.pid}))
    with pytest.raises(CommandError, match="has ended"):
        find_system(tmp_path, {})
    with pytest.raises(CommandError, match="no Busbar found"):
        find_system(None, {"BUSBAR_STATE_DIR": str(tmp_path)})


@pytest.mark.parametrize("text", ["", "[]", "{", '{"orchestrators": []}', json.dumps({**STATE, "pids": {"a": "b"}})])
def test_a_damaged_state_file_is_named_and_not_quoted(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(CommandError, match="is not what `busbar up` writes"):
        find_system(tmp_path, {})
