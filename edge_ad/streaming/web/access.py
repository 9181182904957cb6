"""Who may see and steer the stream."""

from __future__ import annotations

import enum
import hashlib
import hmac
import math
import re
import secrets
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from edge_ad.errors import UsageError
from edge_ad.streaming.web.budgets import Budgets
from edge_ad.streaming.web.clients import client_address
from edge_ad.streaming.web.limits import Limits
from edge_ad.streaming.web.sessions import Sessions

__all__ = ["Access", "Standing", "new_token", "session_name"]

_SHORTEST_TOKEN = 12
_LONGEST_TOKEN = 256
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]")


def new_token() -> str:
    """A token that nobody guesses: 144 bits."""
    return secrets.token_urlsafe(18)


class Standing(enum.Enum):
    """What somebody is to the page who asks for something."""

    LOGGED_IN = "has the token or an open session"
    ANONYMOUS = "has shown neither"
    WRONG = "has shown a wrong one"
    BLOCKED = "has shown too many wrong ones"


class Access:
    """The rules of one live page; used from several threads.

    Args:
        token: What a person or a program must know; None lets everybody on this machine in.
        host: Name that the page listens at.
        hosts: Further names under which a reverse proxy on this machine makes the page known. With any, the
            address that such a proxy forwards is the client's.
        is_public: Whether it answers to any name. A page that only this machine can reach must not: a web site whose
            name suddenly stands for 127.0.0.1 would pass for the page itself.
        limits: How many wrong tokens and sessions an address may show.

    Raises:
        UsageError: The token is too short, too long, or has other than visible ASCII characters; or a name is none.
    """

    def __init__(
        self,
        token: str | None,
        *,
        host: str = "",
        hosts: Collection[str] = (),
        is_public: bool = False,
        limits: Limits | None = None,
    ) -> None:
        if token is not None and not _is_token(token):
            raise UsageError(
                f"The token of the live page must have {_SHORTEST_TOKEN} to {_LONGEST_TOKEN} visible ASCII characters.",
                "Leave it out to have one made.",
            )
        self._token = None if token is None else token.encode()
        self._answers_any = is_public
        self._hosts = frozenset(map(_host, hosts))
        self._own_hosts = _LOOPBACK_NAMES | ({host.lower()} if host else set())
        limits = limits or Limits()
        self._guesses = Budgets(limits.guesses_per_s, limits.guesses)
        self._sessions = Sessions()

    @property
    def needs_token(self) -> bool:
        """Whether one must log in."""
        return self._token is not None

    def knows_host(self, host: str | None) -> bool:
        """Whether a Host header is one that this page answers to."""
        if self._answers_any:
            return True
        return host is not None and _without_port(host.lower()) in self._own_hosts | self._hosts

    def is_own_origin(self, headers: Mapping[str, str]) -> bool:
        """Whether a request that changes something does not come from another site's page."""
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return False
        origin = headers.get("origin")
        if origin is None:  # no browser: every one of them sends it with such a request
            return True
        host, netloc = headers.get("host", "").lower(), _netloc(origin)
        return netloc != "" and (netloc == host or _without_port(netloc) in self._hosts)

    def client(self, peer: str, forwarded: str) -> str:
        """The IP address that a request comes from: that of the connection, unless a proxy has been declared.

        Args:
            peer: Of the connection.
            forwarded: The request's ``X-Forwarded-For``.
        """
        return client_address(peer, forwarded) if self._hosts else peer

    def standing(self, headers: Mapping[str, str], cookie: str, client: str) -> Standing:
        """What somebody is who sends a request. A wrong token or session is taken from the budget of the address.

        Args:
            headers: Of the request, by lower-case name.
            cookie: Name of the cookie.
            client: The address it comes from; see `client`.
        """
        if self._token is None:
            return Standing.LOGGED_IN
        kind, _, candidate = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self.try_token(candidate.strip(), client)
        name = session_name(headers, cookie)
        if not name:
            return Standing.ANONYMOUS
        # An open session counts whatever others at its address have tried: nobody guesses one.
        return Standing.LOGGED_IN if self._sessions.is_open(name) else self._count_guess(client)

    def try_token(self, candidate: str, client: str) -> Standing:
        """Whether somebody knows the token.

        Comparing takes the same time for every wrong one; an address without a budget gets no comparison.
        """
        if self._token is None:
            return Standing.LOGGED_IN
        if self.wait_s(client):
            return Standing.BLOCKED
        if hmac.compare_digest(_digest(candidate.encode("utf-8", "replace")), _digest(self._token)):
            return Standing.LOGGED_IN
        return self._count_guess(client)

    def wait_s(self, client: str) -> int:
        """Whole seconds until an address may try again; 0 when it may."""
        return math.ceil(self._guesses.wait_s(client))

    def log_in(self) -> str:
        """Begin a session for somebody who knows the token: the value of the cookie."""
        return self._sessions.begin()

    def log_out(self, name: str) -> None:
        """End a session, for every copy of its cookie."""
        self._sessions.end(name)

    def goes_on(self, headers: Mapping[str, str], cookie: str) -> bool:
        """Whether what a request has begun may go on: its session, if it came with one, has not ended meanwhile."""
        name = session_name(headers, cookie)
        return self._token is None or not name or "authorization" in headers or self._sessions.is_open(name)

    def _count_guess(self, client: str) -> Standing:
        return Standing.WRONG if self._guesses.spend(client) else Standing.BLOCKED


def session_name(headers: Mapping[str, str], cookie: str) -> str:
    """What the cookie of a request says; empty when there is none.

    Args:
        headers: Of the request, by lower-case name.
        cookie: Name of the cookie.
    """
    pairs = (pair.strip().partition("=") for pair in headers.get("cookie", "").split(";"))
    return next((value for key, _, value in pairs if key == cookie), "")


def _is_token(token: str) -> bool:
    return _SHORTEST_TOKEN <= len(token) <= _LONGEST_TOKEN and all("!" <= character <= "~" for character in token)


def _host(name: str) -> str:
    if _HOST.fullmatch(name) is None:
        raise UsageError(f"{name} is no host name.", "Give the name alone, such as line.example: no https://, no port.")
    return name.lower()


def _digest(value: bytes) -> bytes:
    """Of equal length for every value, so that comparing tells nothing about the length of the token either."""
    return hashlib.sha256(value).digest()


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:  # such as http://[
        return ""


def _without_port(netloc: str) -> str:
    if netloc.startswith("["):
        return netloc.partition("]")[0] + "]"
    return netloc.partition(":")[0]
