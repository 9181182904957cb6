"""Which first requests are refused at the door."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

from starlette.routing import Route

from edge_ad.streaming.web.access import Access
from edge_ad.streaming.web.limits import Limits
from edge_ad.streaming.web.refusals import Refusal, refusal
from edge_ad.streaming.web.request_head import RequestHead

__all__ = ["PUBLIC_PATHS", "Rules", "content_length"]

PUBLIC_PATHS = frozenset({"/login", "/style.css", "/icon.svg"})
_STRANGE_HOST = refusal(421, "This page does not answer to that host name.")
_NO_METHOD = refusal(405, "Only GET and POST.", {"allow": "GET, POST"})
_LONG_BODY = refusal(413, "The body is too long.")
_NOTHING = refusal(404, "There is nothing at this address.")
_TO_LOGIN = refusal(303, "", {"location": "/login"})
_MANY_LOGINS = refusal(503, "Too many log in at the same time.", {"retry-after": "2"})


class Rules:
    """Judges the first request of a connection: host, method, size, token and path, in this order.

    What passes is checked again with every request that follows (`Gate`); here it is only cheap.

    Args:
        access: Who may pass.
        limits: What is allowed.
        cookie: Name of the session's cookie.
        routes: What there is.
    """

    def __init__(self, access: Access, limits: Limits, cookie: str, routes: Iterable[Route]) -> None:
        self._access, self._limits, self._cookie = access, limits, cookie
        self._paths = {route.path for route in routes if "{" not in route.path}
        self._patterns: list[re.Pattern[str]] = [route.path_regex for route in routes if "{" in route.path]
        headers, text = {"www-authenticate": 'Bearer realm="edge-ad"'}, "A token is needed."
        self._no_token = refusal(401, text, headers)
        self._wrong_token = refusal(401, text, headers, delay_s=limits.wrong_token_s)
        self._logins, self._logins_at = 4 * limits.logins_per_s, time.monotonic()

    def judge(self, head: RequestHead) -> Refusal | None:
        """Why a request is refused; None when it passes."""
        if not self._access.knows_host(head.headers.get("host")):
            return _STRANGE_HOST
        if head.method not in ("GET", "POST"):
            return _NO_METHOD
        length = content_length(head.headers.get("content-length", "0"))
        if length is None or length > self._limits.body_bytes:
            return _LONG_BODY
        if not self._access.is_logged_in(head.headers, self._cookie):
            return self._judge_stranger(head)
        return None if self._is_here(head.path) else _NOTHING

    def _judge_stranger(self, head: RequestHead) -> Refusal | None:
        if head.path in PUBLIC_PATHS:
            return None if self._may_log_in() else _MANY_LOGINS
        if "authorization" in head.headers:
            return self._wrong_token  # guessing takes time
        if head.path == "/" and head.method == "GET" and "text/html" in head.headers.get("accept", ""):
            return _TO_LOGIN
        return self._no_token

    def _is_here(self, path: str) -> bool:
        return path in self._paths or any(pattern.match(path) for pattern in self._patterns)

    def _may_log_in(self) -> bool:
        now, rate = time.monotonic(), self._limits.logins_per_s
        self._logins, self._logins_at = min(4 * rate, self._logins + rate * (now - self._logins_at)), now
        if self._logins < 1:
            return False
        self._logins -= 1
        return True


def content_length(text: str) -> int | None:
    """What the header of that name says; None when it is no number."""
    return int(text[:19]) if text.isascii() and text.isdigit() else None
