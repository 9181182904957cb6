"""Who may have what: the rules for everybody who has not logged in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_ad.streaming.web.access import Access, Standing, session_name

__all__ = ["PUBLIC_PATHS", "Denial", "LoginMiddleware", "denial"]

PUBLIC_PATHS = frozenset({"/login", "/style.css", "/icon.svg"})
_CHALLENGE = ("www-authenticate", 'Bearer realm="edge-ad"')


@dataclass(frozen=True)
class Denial:
    """Why somebody does not get what was asked for.

    Attributes:
        status: Of HTTP.
        text: One line; empty for none.
        headers: Names and values.
    """

    status: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()


def denial(
    access: Access, cookie: str, client: str, method: str, path: str, headers: Mapping[str, str]
) -> Denial | None:
    """Whether somebody must log in first, or has tried too often; None when neither.

    Args:
        access: Who may pass.
        cookie: Name of the session's cookie.
        client: The address that the request comes from.
        method: Of the request.
        path: What is asked for; not one of `PUBLIC_PATHS`.
        headers: Of the request, by lower-case name.
    """
    standing = access.standing(headers, cookie, client)
    if standing is Standing.LOGGED_IN:
        return None
    # A browser forgets a session that is over: shown again with every request, it would use up the budget.
    over = (("set-cookie", f"{cookie}=; Max-Age=0; Path=/; HttpOnly; SameSite=strict"),)
    forget = over if session_name(headers, cookie) else ()
    is_page = path == "/" and method in ("GET", "HEAD") and "text/html" in headers.get("accept", "")
    if (is_page or path == "/logout") and "authorization" not in headers:  # what a person asks for
        return Denial(303, "", (("location", "/login"), *forget))
    if standing is Standing.BLOCKED:
        wait = ("retry-after", str(max(1, access.wait_s(client))))
        return Denial(429, "Too many wrong tokens from this address; try again later.", (wait, *forget))
    return Denial(401, "A token is needed.", (_CHALLENGE, *forget))


class LoginMiddleware:
    """Lets those pass who have logged in, and everybody to the login. A middleware.

    What is behind it sees the address of the client, also where a proxy stands between.

    Args:
        app: What answers a request that passes.
        access: Who may pass.
        cookie: Name of the session's cookie.
    """

    def __init__(self, app: ASGIApp, access: Access, cookie: str) -> None:
        self._app, self._access, self._cookie = app, access, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers, (peer, port) = Headers(scope=scope), scope.get("client") or ("", 0)
        client = self._access.client(peer, ", ".join(headers.getlist("x-forwarded-for")))
        scope = {**scope, "client": (client, port)}
        if not self._access.needs_token:
            await self._app(scope, receive, send)
        elif scope["path"] in PUBLIC_PATHS:
            await self._app(scope, receive, _last(send))
        elif found := denial(self._access, self._cookie, client, scope["method"], scope["path"], headers):
            response = PlainTextResponse(f"{found.text}\n" if found.text else "", found.status, dict(found.headers))
            await response(scope, receive, _last(send))
        else:
            await self._app(scope, receive, send)


def _last(send: Send) -> Send:
    """Send an answer that ends its connection: whoever has not logged in is counted again with the next request."""

    async def send_last(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["connection"] = "close"
        await send(message)

    return send_last
