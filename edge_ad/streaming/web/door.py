"""The door of the live page: connections are heard out here, before the server spends anything on them."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Literal

from edge_ad.streaming.web.cpu_share import CpuShare
from edge_ad.streaming.web.crowd import Crowd
from edge_ad.streaming.web.limits import Limits
from edge_ad.streaming.web.refusals import Refusal, refusal
from edge_ad.streaming.web.request_head import RequestHead, head_end, may_become_head, parse_head
from edge_ad.streaming.web.waiting import Waiting

__all__ = ["Admit", "Door", "Judge"]

Peer = tuple[str, int]
_Parting = tuple[Refusal, bool]  # and whether everything that the client sent was read
_Decision = Refusal | Literal["pass", "wait"]
Judge = Callable[[RequestHead, str], Refusal | None]
Admit = Callable[[socket.socket, Peer, bytes], None]

_PAUSE_S = 0.01  # what comes in this time is looked at together: waking up costs the stream more than the work does
_BURST_S = 0.03
_MOST_AT_ONCE = 32
_LEAST_HEARD_S = 0.5
_MOST_LINGERING = 64
_LINGER_S = 0.3  # a connection that is closed with something unread in it loses the answer, too
_NO_REQUEST = refusal(400, "That is no request.")
_TOO_LONG = refusal(431, "The request line and headers are too long.")
_TOO_MANY = refusal(503, "The live page has too many connections.", {"retry-after": "10"})


class Door:
    """Accepts connections, refuses what is to be refused, and hands the others over with what they have sent.

    All of it is done in one thread that keeps within its own small share of a core: while misuse has used it up,
    connections wait in the kernel, and the server goes on for those that it has.

    Args:
        listener: A listening socket; the caller closes it.
        judge: Says which first requests are refused; called with what is asked for and the address of the peer.
        admit: Called in the door's thread with the socket, its peer and what was read of it. From then on the
            connection and its place in the crowd belong to the one who is called.
        crowd: Counts connections.
        limits: What is allowed.

    Attributes:
        failure: What ended the door's thread before it was closed; None while it lets in.
    """

    def __init__(self, listener: socket.socket, judge: Judge, admit: Admit, crowd: Crowd, limits: Limits) -> None:
        self._listener, self._judge, self._admit = listener, judge, admit
        self._crowd, self._limits = crowd, limits
        self.failure: Exception | None = None
        self._is_closing = threading.Event()
        self._bell, self._bell_rope = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._silent: Waiting[_Guest] = Waiting(limits.idle_s, limits.strangers, self._cut)
        self._lingering: Waiting[None] = Waiting(_LINGER_S, _MOST_LINGERING, lambda guest, _: guest.close())
        self._thread = threading.Thread(target=self._run, name="stream-web-door", daemon=True)

    def open(self) -> None:
        """Let connections in from now on."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._bell, selectors.EVENT_READ, lambda: None)
        self._thread.start()

    def close(self) -> None:
        """Let nobody in any more, and cut those that wait."""
        self._is_closing.set()
        self._bell_rope.send(b"x")
        if self._thread.ident is not None:
            self._thread.join()
        for waiting in (self._silent, self._lingering):
            waiting.clear()
        self._selector.close()
        self._bell.close()
        self._bell_rope.close()

    def _run(self) -> None:
        try:
            self._let_in()
        except Exception as error:
            self.failure = error

    def _let_in(self) -> None:
        share = CpuShare(self._limits.stranger_share, _BURST_S)
        while not self._is_closing.is_set():
            for key, _ in self._selector.select(self._until_due()):
                key.data()
            for waiting in (self._silent, self._lingering):
                waiting.expire()
            self._is_closing.wait(max(_PAUSE_S, share.rest_s()))

    def _until_due(self) -> float | None:
        due = [at for waiting in (self._silent, self._lingering) if (at := waiting.next_at) is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _accept(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            if not self._silent.has_room(_LEAST_HEARD_S):
                return
            try:
                guest, peer = self._listener.accept()
            except OSError:  # nobody is there any more, or there are no more file descriptors
                return
            guest.setblocking(False)
            found = _Guest((str(peer[0]), int(peer[1])))
            self._silent.add(guest, found)
            self._hear(guest, found)

    def _hear(self, guest: socket.socket, found: _Guest) -> None:
        """Read what there is; decide when it is enough."""
        if guest not in self._silent:  # it went while others were looked at
            return
        try:
            chunk = guest.recv(self._limits.header_bytes + 1)
        except BlockingIOError:
            self._listen_to(guest, found)
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._silent.drop(guest)
            return
        found.content += chunk
        decision = self._decide(found, len(found.content) - len(chunk))
        if decision == "wait":
            self._listen_to(guest, found)
        else:
            self._dismiss(guest, found, decision)

    def _decide(self, found: _Guest, new_from: int) -> _Decision:
        content, most = found.content, self._limits.header_bytes
        end = head_end(content, new_from)
        if (len(content) if end is None else end) > most:
            return _TOO_LONG
        if end is None:
            return "wait" if may_become_head(content) else _NO_REQUEST
        head = parse_head(content[:end])
        if head is None:
            return _NO_REQUEST
        found.is_heard_out = head.method == "GET" and end == len(content)
        return self._judge(head, found.peer[0]) or "pass"

    def _dismiss(self, guest: socket.socket, found: _Guest, decision: Refusal | Literal["pass"]) -> None:
        self._silent.take(guest)
        self._stop_listening(guest, found)
        if decision == "pass":
            if self._crowd.enter(found.peer[0]):
                self._admit(guest, found.peer, bytes(found.content))
            else:
                self._part(guest, (_TOO_MANY, found.is_heard_out))
        else:
            self._part(guest, (decision, found.is_heard_out))

    def _part(self, guest: socket.socket, parting: _Parting) -> None:
        answer, is_heard_out = parting
        with suppress(OSError):
            guest.send(answer.content)
        if is_heard_out:
            guest.close()
        else:
            self._lingering.add(guest, None)

    def _cut(self, guest: socket.socket, found: _Guest) -> None:
        self._stop_listening(guest, found)
        guest.close()

    def _listen_to(self, guest: socket.socket, found: _Guest) -> None:
        if not found.is_listened_to:
            found.is_listened_to = True
            self._selector.register(guest, selectors.EVENT_READ, partial(self._hear, guest, found))

    def _stop_listening(self, guest: socket.socket, found: _Guest) -> None:
        if found.is_listened_to:
            self._selector.unregister(guest)


class _Guest:
    """A connection that has not said yet what it wants."""

    def __init__(self, peer: Peer) -> None:
        self.peer, self.content = peer, bytearray()
        self.is_listened_to = self.is_heard_out = False
