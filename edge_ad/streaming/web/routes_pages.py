"""The page itself, its files, and the way in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from edge_ad.streaming.web.access import Access, Standing, session_name
from edge_ad.streaming.web.sessions import SESSION_S
from edge_ad.streaming.web.static_files import StaticFiles, static_files

__all__ = ["page_routes"]

_WRONG = "That is not the token of this page."
_MANY = "Too many wrong tokens from your address. Try again in {} s."
_MESSAGE = b"<!-- message -->"


def page_routes(access: Access, *, cookie: str) -> list[Route]:
    """Routes of the page.

    Args:
        access: Who may pass.
        cookie: Name of the session's cookie.
    """
    files = static_files()
    login_page, _ = files["login.html"]

    async def show_login(request: Request) -> Response:
        if access.standing(request.headers, cookie, _client(request)) is Standing.LOGGED_IN:
            return RedirectResponse("/", 303)
        return Response(login_page, media_type="text/html")

    def refuse(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
        content = login_page.replace(_MESSAGE, f'<p class="wrong" role="alert">{message}</p>'.encode())
        return Response(content, status, headers, media_type="text/html")

    async def log_in(request: Request) -> Response:
        response = RedirectResponse("/", 303)
        if not access.needs_token:
            return response
        client = _client(request)
        standing = access.try_token(_token((await request.body()).decode("utf-8", "replace")), client)
        if standing is Standing.BLOCKED:
            wait_s = str(max(1, access.wait_s(client)))
            return refuse(429, _MANY.format(wait_s), {"retry-after": wait_s})
        if standing is not Standing.LOGGED_IN:
            return refuse(401, _WRONG)
        # Behind a proxy only the browser says here whether it came by TLS; then the cookie goes by TLS alone.
        is_secure = request.headers.get("origin", "").startswith("https:")
        response.set_cookie(
            cookie, access.log_in(), max_age=SESSION_S, httponly=True, samesite="strict", secure=is_secure
        )
        return response

    async def log_out(request: Request) -> Response:
        access.log_out(session_name(request.headers, cookie))
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


def _client(request: Request) -> str:
    return request.client.host if request.client else ""


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
