"""Exchanges with a peer that may be slow, silent or hostile: each has one deadline and can be cancelled."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

__all__ = ["Deadline", "DeadlineSocket"]

_Value = TypeVar("_Value")

_POLL_S = 0.05
_MOST_ABANDONED = 4  # calls that cannot be interrupted, such as a DNS look-up that hangs


class Deadline:
    """The time by which an exchange must end, whatever arrives in between. Reusable for the next exchange.

    `cancel` may be called from any thread and from a signal handler: it takes no lock.
    """

    def __init__(self) -> None:
        self._ends_at = float("inf")
        self._is_cancelled = False
        self._socket: socket.socket | None = None
        self._abandoned: list[threading.Thread] = []

    @property
    def is_cancelled(self) -> bool:
        """Whether it was cancelled: no exchange can begin any more."""
        return self._is_cancelled

    def start(self, seconds: float) -> None:
        """Begin an exchange that may take this many seconds."""
        self._ends_at = time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds that are left, more than 0.

        Raises:
            TimeoutError: None are left, or it was cancelled.
        """
        left = self._ends_at - time.monotonic()
        if self._is_cancelled or left <= 0:
            raise TimeoutError("cancelled" if self._is_cancelled else "timed out")
        return left

    def cancel(self) -> None:
        """End this exchange at once, and every later one before it begins."""
        self._is_cancelled = True
        connection = self._socket
        if connection is not None:
            with suppress(OSError):  # it is not connected, or is closed already
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # that of TLS would drop the session under use

    def connect(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> socket.socket:
        """Look the host up and connect within the time that is left.

        Args:
            host: Name or address.
            port: TCP port.
            tls: For an encrypted connection.

        Returns:
            A connection whose reads and writes keep the deadline.

        Raises:
            OSError: It cannot be reached, or not in time.
        """
        problem: OSError = OSError(f"{host} has no address")
        addresses = self._addresses(host, port)
        for number, (family, kind, protocol, _, address) in enumerate(addresses):
            connection = DeadlineSocket(family, kind, protocol)
            connection.deadline = self
            self._socket = connection
            try:
                # A silent address must leave time for the next one.
                connection.settimeout(self.left_s() / (len(addresses) - number))
                connection.connect(address)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return connection if tls is None else self._encrypted(connection, host, tls)
            except OSError as error:
                problem = error
                connection.close()
        raise problem

    def call(self, work: Callable[[], _Value], discard: Callable[[_Value], object] = lambda value: None) -> _Value:
        """Run a call that cannot be interrupted in its own thread, and wait for it within the time that is left.

        Args:
            work: What to run. It keeps running when the time is over.
            discard: Takes the value where it comes too late.

        Returns:
            Its value.

        Raises:
            TimeoutError: The time is over, it was cancelled, or too many earlier calls still run.
            Exception: What it raised.
        """
        self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
        if len(self._abandoned) >= _MOST_ABANDONED:
            raise TimeoutError("earlier attempts have not returned")
        task = _Task(work, discard)
        try:
            while not task.is_done.wait(min(_POLL_S, self.left_s())):
                pass
        except TimeoutError:
            if not task.abandon():
                self._abandoned.append(task.thread)
                raise
        return task.value()

    def _addresses(self, host: str, port: int) -> list[Any]:
        with suppress(OSError):  # a number needs no look-up, and no thread
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return self.call(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))

    def _encrypted(self, connection: DeadlineSocket, host: str, tls: ssl.SSLContext) -> _DeadlineTlsSocket:
        tls.sslsocket_class = _DeadlineTlsSocket
        encrypted = tls.wrap_socket(connection, server_hostname=host, do_handshake_on_connect=False)
        assert isinstance(encrypted, _DeadlineTlsSocket)
        encrypted.deadline = self
        self._socket = encrypted
        try:
            encrypted.settimeout(self.left_s())
            encrypted.do_handshake()
        except BaseException:
            encrypted.close()
            raise
        return encrypted


class _Task(Generic[_Value]):
    def __init__(self, work: Callable[[], _Value], discard: Callable[[_Value], object]) -> None:
        self.is_done = threading.Event()
        self._work, self._discard = work, discard
        self._lock = threading.Lock()
        self._is_abandoned = False
        self._values: list[_Value] = []
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="peer-call", daemon=True)
        self.thread.start()

    def value(self) -> _Value:
        if self._error is not None:
            raise self._error
        return self._values[0]

    def abandon(self) -> bool:
        """Stop waiting for the value; True when it is there already."""
        with self._lock:
            self._is_abandoned = not self.is_done.is_set()
            return not self._is_abandoned

    def _run(self) -> None:
        try:
            value = self._work()
        except BaseException as error:  # raised again where it is waited for
            self._error = error
            self.is_done.set()
            return
        with self._lock:
            if not self._is_abandoned:
                self._values.append(value)
                self.is_done.set()
                return
        self._discard(value)


class DeadlineSocket(socket.socket):
    """A connection that never waits beyond its deadline, however slowly bytes arrive.

    Attributes:
        deadline: Of the exchange under way.
    """

    deadline: Deadline

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        """As that of a socket."""
        self.settimeout(self.deadline.left_s())
        return super().recv_into(*arguments, **options)

    def sendall(self, *arguments: Any, **options: Any) -> None:
        """As that of a socket, which counts the time of all its parts together."""
        self.settimeout(self.deadline.left_s())
        super().sendall(*arguments, **options)


class _DeadlineTlsSocket(ssl.SSLSocket):
    deadline: Deadline

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        self.settimeout(self.deadline.left_s())
        return super().recv_into(*arguments, **options)

    def send(self, *arguments: Any, **options: Any) -> int:  # that which sendall is made of
        self.settimeout(self.deadline.left_s())
        return super().send(*arguments, **options)
