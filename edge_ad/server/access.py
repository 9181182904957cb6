"""Who may see and control the stream, by tokens, and as which of its users."""

from __future__ import annotations

import copy
import enum
import hmac
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from edge_ad.errors import UsageError
from edge_ad.server.budgets import Budgets, ip_of
from edge_ad.server.sessions import Sessions, token_digest
from edge_ad.server.users import ANYBODY, Role, User, is_token

__all__ = ["Access", "Limits", "Standing", "session_name"]

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]")


@dataclass(frozen=True)
class Limits:
    """Limits for the clients of the server.

    Attributes:
        viewers: Pages and MJPEG streams at a time.
        connections: Open connections; further ones wait in the kernel until one ends.
        idle_s: Longest time without a complete request head, in seconds.
        stall_s: Longest time in which a client reads nothing of what it is sent, in seconds.
        header_bytes: Longest request line and headers together.
        body_bytes: Longest body of a request.
        body_s: Longest time for it to come, in seconds.
        held_bytes: Bodies of all requests that have no answer yet, together.
        guesses: Wrong tokens and sessions from one address; after that it is refused without a check.
        guesses_per_s: How many of them an address regains per second.
        refusals: Refusals sent to one address at once; further ones are delayed.
        refusals_per_s: How many of them an address may get per second.
    """

    viewers: int = 16
    connections: int = 1024
    idle_s: float = 5.0
    stall_s: float = 10.0
    header_bytes: int = 16 << 10
    body_bytes: int = 4 << 10
    body_s: float = 5.0
    held_bytes: int = 512 << 20
    guesses: int = 20
    guesses_per_s: float = 0.1
    refusals: int = 100
    refusals_per_s: float = 20.0


class Standing(enum.Enum):
    """What a client may do."""

    LOGGED_IN = "has the token or an open session, or needs none"
    ANONYMOUS = "has shown neither"
    WRONG = "has shown a wrong one"
    BLOCKED = "has shown too many wrong ones"


class Access:
    """The rules of one server; used from several threads.

    Args:
        token: What a client must know; None lets everybody on this machine in, unless there are users. Who has it may
            do everything.
        users: People with tokens and roles of their own.
        host: Name that the server listens at.
        hosts: Further names under which a reverse proxy on this machine makes the page known. With any, the
            address that such a proxy forwards is the client's.
        is_public: Whether it answers to any name. A page that only this machine can reach must not: a web site could
            make its own name resolve to 127.0.0.1 and pass for the page (DNS rebinding).
        limits: How many wrong tokens and sessions an address may show.

    Attributes:
        token: What a client must know.
        users: People with tokens of their own.
        needs_token: Whether it must know one.
        cookie: Name of the cookie that holds a session.

    Raises:
        UsageError: The token is too short, too long, or has other than visible ASCII characters; or a name is none.
    """

    def __init__(
        self,
        token: str | None,
        *,
        users: Collection[User] = (),
        host: str = "",
        hosts: Collection[str] = (),
        is_public: bool = False,
        limits: Limits | None = None,
    ) -> None:
        if token is not None and not is_token(token):
            message = "The token of the live page must have 12 to 256 visible ASCII characters."
            raise UsageError(message, "Leave it out, and one is made.")
        limits = limits or Limits()
        self.token = token
        self.users = tuple(users)
        self.needs_token = token is not None or bool(self.users)
        self.cookie = "edge_ad"
        self._path_tokens: dict[str, str] = {}
        self._hosts = frozenset(map(_host, hosts))
        self._answers_any, self._own_hosts = is_public, _own_hosts(host)
        self._guesses = Budgets(limits.guesses_per_s, limits.guesses)
        self._sessions = Sessions()

    def at(self, host: str, port: int, *, is_loopback: bool, needs_token: bool) -> Access:
        """The same token, sessions and budgets at one of the addresses of a server."""
        other = copy.copy(self)
        other._own_hosts, other._answers_any = _own_hosts(host), not is_loopback
        other.needs_token = needs_token
        other.cookie = f"edge_ad_{port}"  # cookies do not tell the ports of a host apart
        return other

    def accept_at(self, path: str, token: str) -> None:
        """Require this token at one path, at every address; the server's own tokens open it too."""
        self._path_tokens[path] = token

    def knows_host(self, host: str | None) -> bool:
        """Whether a Host header is one that this server answers to."""
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
        return _client_address(peer, forwarded) if self._hosts else peer

    def standing(self, headers: Mapping[str, str], client: str, path: str = "") -> Standing:
        """What a client may do. A wrong token or session is charged to the budget of its address.

        Args:
            headers: Of the request, by lower-case name.
            client: The address it comes from; see `client`.
            path: What it asks for.
        """
        if not self._known(path):
            return Standing.LOGGED_IN
        if (candidate := _bearer(headers)) is not None:
            return self.try_token(candidate, client, path)
        name = session_name(headers, self.cookie)
        if not name:
            return Standing.ANONYMOUS
        # An open session is accepted whatever others at its address have tried: nobody guesses one.
        return Standing.LOGGED_IN if self._sessions.is_open(name) else self._count_guess(client)

    def user(self, headers: Mapping[str, str], path: str = "") -> User | None:
        """Who a client is whose standing is `Standing.LOGGED_IN`; None where its session has ended meanwhile."""
        if not self._known(path):
            return ANYBODY
        candidate = _bearer(headers)
        if candidate is not None:
            return self.user_with(candidate, path)
        return self._sessions.user(session_name(headers, self.cookie))

    def user_with(self, candidate: str, path: str = "") -> User | None:
        """Whose token it is; None for nobody's. It is compared with each, in the same time for every wrong one."""
        given, found = token_digest(candidate.encode("utf-8", "replace")), None
        for user in self._known(path):
            if hmac.compare_digest(given, token_digest(user.token.encode())):
                found = user
        return found

    def try_token(self, candidate: str, client: str, path: str = "") -> Standing:
        """Whether a client knows a token.

        Comparing takes the same time for every wrong one; an address without a budget gets no comparison.
        """
        if not self._known(path):
            return Standing.LOGGED_IN
        if self.wait_s(client):
            return Standing.BLOCKED
        return self._count_guess(client) if self.user_with(candidate, path) is None else Standing.LOGGED_IN

    def wait_s(self, client: str) -> int:
        """Whole seconds until an address may try again; 0 when it may."""
        return math.ceil(self._guesses.wait_s(client))

    def log_in(self, user: User = ANYBODY) -> str:
        """Begin a session for a client that knows a token: the value of the cookie."""
        return self._sessions.begin(user)

    def log_out(self, name: str) -> None:
        """End a session, for every copy of its cookie."""
        self._sessions.end(name)

    def goes_on(self, headers: Mapping[str, str]) -> bool:
        """Whether a response may continue: the session that the request came with, if any, has not ended."""
        name = session_name(headers, self.cookie)
        return not self.needs_token or not name or "authorization" in headers or self._sessions.is_open(name)

    def _known(self, path: str) -> list[User]:
        """Whose tokens open a path; empty when it needs none."""
        own = self._path_tokens.get(path)
        if not self.needs_token and own is None:
            return []
        shared = [] if self.token is None else [User("", Role.ENGINEER, self.token)]
        return [*self.users, *shared, *([] if own is None else [User("", Role.OPERATOR, own)])]

    def _count_guess(self, client: str) -> Standing:
        return Standing.WRONG if self._guesses.spend(client) else Standing.BLOCKED


def _client_address(peer: str, forwarded: str) -> str:
    """The IP address of the client, also behind a reverse proxy on this machine.

    Args:
        peer: Of the connection.
        forwarded: The request's ``X-Forwarded-For``. Its last entry counts, and only from this machine: the proxy wrote
            that one, and what precedes it came from the client.
    """
    own, client = ip_of(peer), ip_of(forwarded.rpartition(",")[2].strip())
    return peer if client is None or own is None or not own.is_loopback else str(client)


def session_name(headers: Mapping[str, str], cookie: str) -> str:
    """The value of a cookie; empty when there is none.

    Args:
        headers: Of the request, by lower-case name.
        cookie: Name of the cookie.
    """
    pairs = (pair.strip().partition("=") for pair in headers.get("cookie", "").split(";"))
    return next((value for key, _, value in pairs if key == cookie), "")


def _own_hosts(host: str) -> frozenset[str]:
    return _LOOPBACK_NAMES | ({f"[{host}]" if ":" in host else host.lower()} if host else set())


def _bearer(headers: Mapping[str, str]) -> str | None:
    """The token that a program shows; None where it shows none."""
    kind, _, candidate = headers.get("authorization", "").partition(" ")
    return candidate.strip() if kind.lower() == "bearer" else None


def _host(name: str) -> str:
    if _HOST.fullmatch(name) is None:
        raise UsageError(
            f"{name} is not a host name.", "Give the name alone, such as line.example: no https://, no port."
        )
    return name.lower()


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:  # such as http://[
        return ""


def _without_port(netloc: str) -> str:
    if netloc.startswith("["):
        return netloc.partition("]")[0] + "]"
    return netloc.partition(":")[0]
