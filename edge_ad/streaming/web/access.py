"""Who may see and steer the stream."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from edge_ad.errors import UsageError

__all__ = ["SESSION_S", "Access", "new_token"]

SESSION_S = 30 * 24 * 3600  # a monitor at the line is not logged in every morning
_SHORTEST_TOKEN = 12
_LONGEST_TOKEN = 256
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


def new_token() -> str:
    """A token that nobody guesses: 144 bits."""
    return secrets.token_urlsafe(18)


class Access:
    """The rules of one live page.

    Args:
        token: What a person or a program must know; None lets everybody on this machine in.
        hosts: Further names under which the page is reached, such as that of a reverse proxy.
        is_public: Whether it answers to any name. A page that only this machine can reach must not: a web site whose
            name suddenly stands for 127.0.0.1 would pass for the page itself.

    Raises:
        UsageError: The token is too short, too long, or has other than visible ASCII characters.
    """

    def __init__(self, token: str | None, *, hosts: Collection[str] = (), is_public: bool = False) -> None:
        if token is not None and not _is_token(token):
            raise UsageError(
                f"The token of the live page must have {_SHORTEST_TOKEN} to {_LONGEST_TOKEN} visible ASCII characters.",
                "Leave it out to have one made.",
            )
        self._token = None if token is None else token.encode()
        self._answers_any = is_public
        self._hosts = frozenset(host.lower() for host in hosts)

    @property
    def needs_token(self) -> bool:
        """Whether one must log in."""
        return self._token is not None

    def knows_host(self, host: str | None) -> bool:
        """Whether a Host header is one that this page answers to."""
        if self._answers_any:
            return True
        return host is not None and _without_port(host.lower()) in _LOOPBACK_NAMES | self._hosts

    def is_own_origin(self, headers: Mapping[str, str]) -> bool:
        """Whether a request that changes something does not come from another site's page."""
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return False
        origin = headers.get("origin")
        if origin is None:  # no browser: every one of them sends it with such a request
            return True
        host, netloc = headers.get("host", "").lower(), urlsplit(origin).netloc.lower()
        return netloc != "" and (netloc == host or _without_port(netloc) in self._hosts)

    def is_token(self, candidate: str) -> bool:
        """Whether somebody knows the token; takes the same time for every wrong one."""
        if self._token is None:
            return True
        return hmac.compare_digest(_digest(candidate.encode("utf-8", "replace")), _digest(self._token))

    def is_logged_in(self, headers: Mapping[str, str], cookie: str) -> bool:
        """Whether a request carries the token, or the cookie of a session that is not over.

        Args:
            headers: Of the request, by lower-case name.
            cookie: Name of the cookie.
        """
        if self._token is None:
            return True
        kind, _, candidate = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self.is_token(candidate.strip())
        return self._is_session(_cookie(headers.get("cookie", ""), cookie))

    def session(self) -> str:
        """A new value for the cookie. It ends with its time or with the token, and outlives a restart."""
        return self._sign(int(time.time()) + SESSION_S)

    def _is_session(self, value: str) -> bool:
        end, _, _ = value.partition(".")
        if not (end.isascii() and end.isdigit() and len(end) < 12):
            return False
        genuine = self._sign(int(end)).encode()
        is_genuine = hmac.compare_digest(_digest(value.encode("utf-8", "replace")), _digest(genuine))
        return is_genuine and int(end) > time.time()

    def _sign(self, end: int) -> str:
        assert self._token is not None
        return f"{end}.{hmac.new(self._token, f'edge-ad live page {end}'.encode(), hashlib.sha256).hexdigest()}"


def _is_token(token: str) -> bool:
    return _SHORTEST_TOKEN <= len(token) <= _LONGEST_TOKEN and all("!" <= character <= "~" for character in token)


def _digest(value: bytes) -> bytes:
    """Of equal length for every value, so that comparing tells nothing about the length of the token either."""
    return hashlib.sha256(value).digest()


def _without_port(netloc: str) -> str:
    if netloc.startswith("["):
        return netloc.partition("]")[0] + "]"
    return netloc.partition(":")[0]


def _cookie(header: str, name: str) -> str:
    pairs = (pair.strip().partition("=") for pair in header.split(";"))
    return next((value for key, _, value in pairs if key == name), "")
