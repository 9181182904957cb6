"""Who is logged in, until they log out, their time is over or the stream ends."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict

__all__ = ["SESSION_S", "Sessions"]

SESSION_S = 30 * 24 * 3600  # a monitor at the line is not logged in every morning
_MOST = 1024


class Sessions:
    """The open sessions of one page; used from several threads.

    They are kept here and not in the cookie, so that one that has ended is over for every copy of the cookie too. Of a
    session only a digest is kept. Beyond 1024 the oldest ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: OrderedDict[bytes, float] = OrderedDict()  # digest → when it ends, oldest first

    def begin(self) -> str:
        """A new session: what its cookie says, 256 bits that nobody guesses."""
        name = secrets.token_hex(32)
        with self._lock:
            self._ends[_digest(name)] = time.monotonic() + SESSION_S
            while len(self._ends) > _MOST:
                self._ends.popitem(last=False)
        return name

    def is_open(self, name: str) -> bool:
        """Whether a session has begun and not ended."""
        with self._lock:
            return self._ends.get(_digest(name), 0.0) > time.monotonic()

    def end(self, name: str) -> None:
        """End a session, if there is one of that name."""
        with self._lock:
            self._ends.pop(_digest(name), None)


def _digest(name: str) -> bytes:
    """What is looked up: how long that takes tells nothing about the names that there are."""
    return hashlib.sha256(name.encode("utf-8", "replace")).digest()
