"""Where a server's stderr is kept: one file for each worker, the newest few for each server."""

from pathlib import Path

KEPT_PER_SERVER = 10


def stderr_file(state_dir: Path, server: str, instance: str) -> Path:
    """Return the file for a new worker, `<state_dir>/servers/<server>.<instance>.log`, and delete the oldest others."""
    folder = state_dir / "servers"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    old = sorted(folder.glob(f"{server}.*.log*"), key=_changed_at, reverse=True)
    for path in old[KEPT_PER_SERVER - 1 :]:
        path.unlink(missing_ok=True)
    return folder / f"{server}.{instance}.log"


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another worker deleted it
        return 0.0
