"""The app that granian runs, and the routes of its pages: a page, its files and the login."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from edge_ad.errors import EdgeAdError, StorageError
from edge_ad.server.access import Access, Standing, session_name
from edge_ad.server.feed import Busy
from edge_ad.server.sessions import SESSION_S
from edge_ad.server.users import Role, User

__all__ = ["make_app", "page_routes"]

_WRONG = "This is not the token of this page."
_MANY = "Too many wrong tokens from your address. Try again in {} s."
_NOBODY = User("", Role.VIEWER, "")
_BUSY = "There are too many viewers; try again later.\n"


def make_app(routes: Sequence[BaseRoute]) -> Starlette:
    """The app; it answers a wrong request with one line."""
    app = Starlette(routes=routes, exception_handlers={EdgeAdError: _misuse, StorageError: _storage, Busy: _busy})
    app.router.redirect_slashes = False
    return app


def page_routes(page: str = "page.html", *, title: str = "Live inspection") -> list[BaseRoute]:
    """Routes of a page, its files, the login and the logout.

    Args:
        page: Template of the page.
        title: What the login calls it.
    """
    templates = Jinja2Templates(env=Environment(loader=PackageLoader("edge_ad.server"), autoescape=True))

    async def show_page(request: Request) -> Response:
        user = request.state.user
        return templates.TemplateResponse(request, page, {"role": user.role.word, "user": user.name})

    def login_page(request: Request, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
        return templates.TemplateResponse(request, "login.html", {"message": message, "title": title}, status, headers)

    async def show_login(request: Request) -> Response:
        if _access(request).standing(request.headers, _client(request)) is Standing.LOGGED_IN:
            return RedirectResponse("/", 303)
        return login_page(request, 200, "")

    async def log_in(request: Request) -> Response:
        access, client = _access(request), _client(request)
        token = _token((await request.body()).decode("utf-8", "replace"))
        standing = access.try_token(token, client)
        if standing is Standing.BLOCKED:
            wait_s = str(max(1, access.wait_s(client)))
            return login_page(request, 429, _MANY.format(wait_s), {"retry-after": wait_s})
        if standing is not Standing.LOGGED_IN:
            return login_page(request, 401, _WRONG)
        response = RedirectResponse("/", 303)
        if access.needs_token:
            # Behind a proxy, only the browser knows whether it used TLS; if so, the cookie is sent over TLS alone.
            is_secure = request.headers.get("origin", "").startswith("https:")
            name, session = access.cookie, access.log_in(access.user_with(token) or _NOBODY)
            response.set_cookie(name, session, SESSION_S, httponly=True, samesite="strict", secure=is_secure)
        return response

    async def log_out(request: Request) -> Response:
        access = _access(request)
        access.log_out(session_name(request.headers, access.cookie))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(access.cookie, httponly=True, samesite="strict")
        return response

    return [
        Route("/", show_page),
        Route("/login", show_login, methods=["GET"]),
        Route("/login", log_in, methods=["POST"]),
        Route("/logout", log_out, methods=["POST"]),
        Mount("/static", StaticFiles(packages=[("edge_ad.server", "static")])),
    ]


def _access(request: Request) -> Access:
    """The rules at the address that a request came to."""
    access = request.state.access
    assert isinstance(access, Access)
    return access


def _client(request: Request) -> str:
    return request.client.host if request.client else ""


def _token(form: str) -> str:
    try:
        return parse_qs(form, max_num_fields=8).get("token", [""])[0].strip()
    except ValueError:  # too many fields
        return ""


async def _misuse(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 400)


async def _storage(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 507)


async def _busy(request: Request, error: Exception) -> Response:
    return PlainTextResponse(_BUSY, 503, {"retry-after": "10"})
