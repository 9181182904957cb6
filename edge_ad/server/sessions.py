"""Who is logged in, by a cookie."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict

from edge_ad.server.users import ANYBODY, User

__all__ = ["SESSION_S", "Sessions", "token_digest"]

SESSION_S = 30 * 24 * 3600  # so that nobody has to log a monitor at the line in every morning
_MOST_SESSIONS = 1024


class Sessions:
    """Who is logged in: until logout, for a month at most, or until the stream ends. Thread-safe.

    Sessions are kept here and not in the cookie, so that ending one invalidates every copy of its cookie. Only their
    digests are kept. Beyond 1024 the oldest ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[bytes, tuple[float, User]] = OrderedDict()  # digest → when it ends, oldest first

    def begin(self, user: User = ANYBODY) -> str:
        """Begin a session; returns the value of its cookie, 256 random bits."""
        name = secrets.token_hex(32)
        with self._lock:
            self._open[token_digest(name.encode())] = time.monotonic() + SESSION_S, user
            while len(self._open) > _MOST_SESSIONS:
                self._open.popitem(last=False)
        return name

    def is_open(self, name: str) -> bool:
        """Whether a session is open."""
        return self.user(name) is not None

    def user(self, name: str) -> User | None:
        """Whose session it is; None where it is not open."""
        with self._lock:
            ends, user = self._open.get(token_digest(name.encode("utf-8", "replace")), (0.0, ANYBODY))
        return user if ends > time.monotonic() else None

    def end(self, name: str) -> None:
        """End a session, if there is one of that name."""
        with self._lock:
            self._open.pop(token_digest(name.encode("utf-8", "replace")), None)


def token_digest(value: bytes) -> bytes:
    """A digest: of the same length for every value, so that the time of a comparison does not tell the length."""
    return hashlib.sha256(value).digest()
