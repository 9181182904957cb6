"""Which first requests are refused at the door."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from starlette.routing import Route

from edge_ad.streaming.web.access import Access
from edge_ad.streaming.web.budgets import Budgets
from edge_ad.streaming.web.limits import Limits
from edge_ad.streaming.web.login_middleware import PUBLIC_PATHS, Denial, denial
from edge_ad.streaming.web.refusals import Refusal, refusal
from edge_ad.streaming.web.request_head import RequestHead

__all__ = ["METHODS", "Rules", "content_length"]

METHODS = ("GET", "HEAD", "POST")
_STRANGE_HOST = refusal(421, "This page does not answer to that host name; a proxy's name is given with --web-host.")
_NO_METHOD = refusal(405, "Only GET, HEAD and POST.", {"allow": ", ".join(METHODS)})
_LONG_BODY = refusal(413, "The body is too long.")
_NOTHING = refusal(404, "There is nothing at this address.")
_MANY_LOGINS = refusal(503, "Too many log in from this address at the same time.", {"retry-after": "2"})


class Rules:
    """Judges the first request of a connection: host, method, size, token and path, in this order.

    What passes is checked again with every request that follows (`Gate`, `LoginMiddleware`); here it is only cheap.

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
        self._logins = Budgets(limits.logins_per_s, 4 * limits.logins_per_s)

    def judge(self, head: RequestHead, peer: str) -> Refusal | None:
        """Why a request is refused; None when it passes.

        Args:
            head: Of the request.
            peer: Address that the connection comes from.
        """
        found = self._judge(head, peer)
        return found.without_body() if found is not None and head.method == "HEAD" else found

    def _judge(self, head: RequestHead, peer: str) -> Refusal | None:
        if not self._access.knows_host(head.headers.get("host")):
            return _STRANGE_HOST
        if head.method not in METHODS:
            return _NO_METHOD
        length = content_length(head.headers.get("content-length", "0"))
        if length is None or length > self._limits.body_bytes:
            return _LONG_BODY
        client = self._access.client(peer, head.headers.get("x-forwarded-for", ""))
        if self._access.needs_token and head.path in PUBLIC_PATHS:
            return None if self._logins.spend(client) else _MANY_LOGINS
        found = denial(self._access, self._cookie, client, head.method, head.path, head.headers)
        if found is not None:
            return _refusal(found)
        return None if self._is_here(head.path) else _NOTHING

    def _is_here(self, path: str) -> bool:
        return path in self._paths or any(pattern.match(path) for pattern in self._patterns)


@lru_cache(maxsize=64)
def _refusal(found: Denial) -> Refusal:
    return refusal(found.status, found.text, dict(found.headers))


def content_length(text: str) -> int | None:
    """What the header of that name says; None when it is no number."""
    return int(text[:19]) if text.isascii() and text.isdigit() else None
