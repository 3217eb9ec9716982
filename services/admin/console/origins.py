"""Whether a request comes from a page of ours."""

from fastapi import Request


def is_same_origin(request: Request) -> bool:
    """Return whether the browser says that a page of this very origin sends it.

    One that says nothing is not believed: every browser sends Origin with a POST. `Sec-Fetch-Site` is the browser's own
    word, which also holds behind a proxy that changes the Host.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin", "")
    return bool(origin) and origin.partition("://")[2] == request.headers.get("host", "")
