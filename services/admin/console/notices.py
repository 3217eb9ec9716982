"""A notice on its way from an order to the page that shows it: in a cookie, sealed, so that nobody plants words."""

import base64
import hashlib
import hmac
import json
from typing import Final

from fastapi import Request, Response

from services.admin.console.answers import Notice
from services.admin.console.cookies import drop_cookie, read_cookie, set_cookie
from services.admin.console.sessions import Session

_COOKIE: Final = "busbar_notice"
_LASTS_S: Final = 60
_LONGEST: Final = 400
"""Characters; a cookie holds four thousand bytes."""


def send_notice(request: Request, response: Response, session: Session, notice: Notice) -> None:
    """Let the next page show it."""
    words = base64.urlsafe_b64encode(json.dumps([notice.tone, notice.text[:_LONGEST]]).encode()).decode()
    set_cookie(request, response, _COOKIE, f"{words}.{_seal(words, session)}", lasts_s=_LASTS_S)


def read_notice(request: Request, session: Session) -> Notice | None:
    """Return the notice that is to be shown; None: there is none, or it is not one of ours."""
    words, _, seal = read_cookie(request, _COOKIE).partition(".")
    if not words or not hmac.compare_digest(seal.encode(), _seal(words, session).encode()):
        return None
    tone, text = json.loads(base64.urlsafe_b64decode(words))
    return Notice(tone, text)


def drop_notice(request: Request, response: Response) -> None:
    """It has been shown."""
    drop_cookie(request, response, _COOKIE)


def _seal(words: str, session: Session) -> str:
    return hmac.new(session.csrf_token.encode(), words.encode(), hashlib.sha256).hexdigest()
