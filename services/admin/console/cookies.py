"""The console's cookies: never seen by a script, never sent by another site, by https alone where they came by it."""

from typing import Final

from fastapi import Request, Response

SESSION: Final = "busbar_console"
_OF_THIS_HOST: Final = "__Host-"
"""A name that begins so is only taken with `Secure` and for this host alone, so that no neighbour can plant it."""


def read_cookie(request: Request, name: str) -> str:
    """Return its value; empty where there is none. Over https one that could have been planted is not looked at."""
    planted_by_nobody = request.cookies.get(_OF_THIS_HOST + name, "")
    return planted_by_nobody or ("" if _is_https(request) else request.cookies.get(name, ""))


def set_cookie(request: Request, response: Response, name: str, value: str, *, lasts_s: int | None = None) -> None:
    """Set it; `lasts_s` None: until the browser is closed."""
    is_https = _is_https(request)
    response.set_cookie(
        _OF_THIS_HOST + name if is_https else name,
        value,
        max_age=lasts_s,
        path="/",
        secure=is_https,
        httponly=True,
        samesite="strict",
    )


def drop_cookie(request: Request, response: Response, name: str) -> None:
    """Let the browser forget it, under either of its names."""
    for full in (_OF_THIS_HOST + name, name):
        if full in request.cookies:
            secure = full.startswith(_OF_THIS_HOST)
            response.delete_cookie(full, path="/", secure=secure, httponly=True, samesite="strict")


def _is_https(request: Request) -> bool:
    """Whether the browser uses https, as the proxy before us or the browser itself says: who lies only hurts itself."""
    forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    return "https" in (request.url.scheme, forwarded) or request.headers.get("origin", "").startswith("https://")
