"""The console's style, scripts and icon: read once, and kept by browsers until a release changes them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import Response

from services.admin.console.browsers import HEADERS

_FOLDER: Final = Path(__file__).parent / "static"
_MEDIA_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOR_EVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One of them."""

    url: str
    """It names the contents, so that browsers never show an old release's."""
    media_type: str
    content: bytes

    def response(self) -> Response:
        headers = {**HEADERS, "cache-control": _FOR_EVER}
        return Response(self.content, media_type=self.media_type, headers=headers)


def read_static_files() -> dict[str, StaticFile]:
    """Return all of them, by name."""
    return {path.name: _read(path) for path in sorted(_FOLDER.iterdir()) if path.suffix in _MEDIA_TYPES}


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    version = hashlib.sha256(content).hexdigest()[:12]
    return StaticFile(f"/console/static/{path.name}?{version}", _MEDIA_TYPES[path.suffix], content)
