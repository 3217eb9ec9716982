"""Servers' stderr: where an operator finds it, and not for ever."""

import os
from pathlib import Path

from services.worker.stderr_files import KEPT_PER_SERVER, stderr_file


def test_the_newest_few_of_each_server_are_kept(tmp_path: Path) -> None:
    for age in range(30):
        path = stderr_file(tmp_path, "a", f"i{age}")
        path.write_text("said")
        os.utime(path, (age, age))
    other = stderr_file(tmp_path, "b", "i")
    other.write_text("said")

    kept = {path.name for path in (tmp_path / "servers").glob("a.*")}

    assert kept == {f"a.i{age}.log" for age in range(30 - KEPT_PER_SERVER, 30)}
    assert other.exists()


def test_the_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    stderr_file(tmp_path, "a", "i")

    assert (tmp_path / "servers").stat().st_mode & 0o077 == 0
