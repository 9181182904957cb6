"""The HTTP session to a registry: bounded in time and memory, and with TLS for every request where TLS is asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from edge_ad.errors import BundleError

__all__ = ["ANSWER_S", "guard_session"]

ANSWER_S = 60.0
"""How long a registry may take to answer a question, in seconds; one that asks another for it takes its time."""
_CONNECT_S = 10.0
_PROGRESS_S = 60.0  # a file on its way: how long no byte may come or go
_LARGEST_ANSWER_BYTES = 4 << 20
_MOST_REDIRECTS = 5


def guard_session(session: Any, host: str, *, is_plain: bool, answer_s: float = ANSWER_S) -> None:
    """Bound what a registry can make a session of the package requests do.

    Every request has time-outs: ``answer_s`` for questions, a minute without progress for files. Redirects are few, and
    an answer that is not read in pieces is small. Without ``is_plain``, a redirect or a login to an address without TLS
    fails with requests' ``InvalidSchema``.

    Args:
        session: Changed in place.
        host: Name of the registry, for messages.
        is_plain: Whether addresses without TLS are allowed.
        answer_s: How long the registry may take to answer a question, in seconds; to connect, ten at most.
    """
    session.request = partial(_request_in_time, session.request, answer_s)
    session.max_redirects = _MOST_REDIRECTS
    session.hooks["response"].append(partial(_limit_answer, host))
    if not is_plain:
        del session.adapters["http://"]


def _request_in_time(request: Callable[..., Any], answer_s: float, method: str, url: str, **arguments: Any) -> Any:
    is_question = method == "HEAD" or (method == "GET" and "/blobs/" not in url)
    read_s = answer_s if is_question else _PROGRESS_S
    return request(method, url, timeout=(min(_CONNECT_S, answer_s), read_s), **arguments)


def _limit_answer(host: str, answer: Any, *_arguments: Any, stream: bool = False, **_settings: Any) -> None:
    if not stream or answer.is_redirect:  # requests reads it into memory, of any length
        answer.raw = _LimitedBody(answer.raw, host)


class _LimitedBody:
    """The body of an answer, which may not be longer than a manifest."""

    def __init__(self, body: Any, host: str) -> None:
        self._body, self._host, self._left = body, host, _LARGEST_ANSWER_BYTES

    def read(self, size: int | None = None, *, decode_content: bool = True) -> bytes:
        """The next bytes; empty at the end.

        Raises:
            BundleError: There are more than allowed.
        """
        most = self._left + 1 if size is None else min(size, self._left + 1)
        content = bytes(self._body.read(most, decode_content=decode_content))
        self._left -= len(content)
        if self._left < 0:
            raise BundleError(f"The registry {self._host} gives an answer without end.", "Do not use this registry.")
        return content

    def close(self) -> None:
        """End the connection."""
        self._body.close()

    def release_conn(self) -> None:
        """Let the connection be used again."""
        self._body.release_conn()
