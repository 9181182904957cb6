"""The page itself, its files, and the way in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from edge_ad.streaming.web.access import SESSION_S, Access
from edge_ad.streaming.web.static_files import StaticFiles, static_files

__all__ = ["page_routes"]

_WRONG = b'<p class="wrong" role="alert">That is not the token of this page.</p>'
_MESSAGE = b"<!-- message -->"


def page_routes(access: Access, *, cookie: str, wrong_token_s: float) -> list[Route]:
    """Routes of the page.

    Args:
        access: Who may pass.
        cookie: Name of the session's cookie.
        wrong_token_s: Wait before a wrong token is refused, in seconds.
    """
    files = static_files()
    login_page, _ = files["login.html"]

    async def show_login(request: Request) -> Response:
        if access.is_logged_in(request.headers, cookie):
            return RedirectResponse("/", 303)
        return Response(login_page, media_type="text/html")

    async def log_in(request: Request) -> Response:
        response = RedirectResponse("/", 303)
        if not access.needs_token:
            return response
        if not access.is_token(_token((await request.body()).decode("utf-8", "replace"))):
            await asyncio.sleep(wrong_token_s)  # guessing takes time
            return Response(login_page.replace(_MESSAGE, _WRONG), 401, media_type="text/html")
        response.set_cookie(cookie, access.session(), max_age=SESSION_S, httponly=True, samesite="strict")
        return response

    async def log_out(request: Request) -> Response:
        response = RedirectResponse("/login", 303)
        response.delete_cookie(cookie, httponly=True, samesite="strict")
        return response

    return [
        Route("/", _file(files, "index.html")),
        Route("/login", show_login, methods=["GET"]),
        Route("/login", log_in, methods=["POST"]),
        Route("/logout", log_out, methods=["POST"]),
        *(Route(f"/{name}", _file(files, name)) for name in files if not name.endswith(".html")),
    ]


def _token(form: str) -> str:
    try:
        return parse_qs(form, max_num_fields=8).get("token", [""])[0].strip()
    except ValueError:  # too many fields
        return ""


def _file(files: StaticFiles, name: str) -> Callable[[Request], Awaitable[Response]]:
    content, media_type = files[name]

    async def answer(request: Request) -> Response:
        return Response(content, media_type=media_type)

    return answer
