"""The folder of a run."""

import json
import os
from pathlib import Path

import pytest

from services.supervisor.errors import StateFolderError
from services.supervisor.state_folder import claimed


def test_the_folder_and_its_files_are_ours_alone(tmp_path: Path) -> None:
    with claimed(tmp_path / "state") as folder:
        folder.write_state({"pids": {}})
        modes = {path.relative_to(tmp_path): path.stat().st_mode & 0o777 for path in (tmp_path / "state").rglob("*")}
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert all(mode in {0o600, 0o700} for mode in modes.values()), modes


def test_a_folder_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with claimed(tmp_path):
        assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_the_state_names_the_supervisor_and_is_gone_in_the_end(tmp_path: Path) -> None:
    with claimed(tmp_path) as folder:
        folder.write_state({"pids": {"nats": 7}})
        state = json.loads((tmp_path / "state.json").read_text())
        folder.remove_state()
    assert state == {"pids": {"nats": 7}, "supervisor": os.getpid()}
    assert not (tmp_path / "state.json").exists()


def test_a_folder_in_use_is_refused_with_the_process_that_has_it(tmp_path: Path) -> None:
    with (
        claimed(tmp_path),
        pytest.raises(StateFolderError, match=rf"process {os.getpid()}.*--state-dir"),
        claimed(tmp_path),
    ):
        pass


def test_a_folder_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with claimed(tmp_path):
            pass


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateFolderError, match="cannot be used"), claimed(tmp_path / "file"):
        pass
