"""Posts events to a server, as JSON over HTTP."""

from __future__ import annotations

import base64
import http.client
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from edge_ad.credentials import WEBHOOK_TOKEN, credential
from edge_ad.errors import UsageError
from edge_ad.masked_address import ENCODE_LOGIN, is_ambiguous, masked_address, masked_text
from edge_ad.streaming.deadline import Deadline
from edge_ad.streaming.frame import Event, Result
from edge_ad.streaming.records.schema import event_record
from edge_ad.streaming.sinks.base import Outbox, Sink
from edge_ad.streaming.sinks.hook import Alarm
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.sources.http_client import HttpConnection
from edge_ad.strict_json import to_json

if TYPE_CHECKING:
    from edge_ad.streaming.control import StreamControl

__all__ = ["Endpoint", "WebhookSink"]

_CAPACITY = 1000
_LONGEST_WAIT_S = 30.0
_CLOSE_S = 3.0
_ALARM_AFTER = 3  # tries that failed in a row
_TRY_AGAIN = {408, 425, 429}  # too slow, too early, too many: the message itself is fine


@dataclass(frozen=True)
class Endpoint:
    """Where to post.

    Attributes:
        is_tls: Whether it is ``https://``.
        host: Name or address.
        port: TCP port.
        path: Path and query.
        headers: Of every request; a password or token is stored here and nowhere else.
    """

    is_tls: bool
    host: str
    port: int
    path: str
    headers: dict[str, str]

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Take ``http(s)://[user:password@]host[:port]/path``; EDGE_AD_WEBHOOK_TOKEN is sent as a bearer token.

        Raises:
            UsageError: It is no such URL.
        """
        problem = UsageError("The webhook's address is no http:// or https:// URL.", "Such as http://host:8080/ng")
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:  # its message quotes what it could not read, which may be a password
            raise problem from None
        if parts.scheme not in {"http", "https"} or not parts.hostname or any(ord(sign) <= 32 for sign in url):
            raise problem
        if is_ambiguous(url):
            raise UsageError("The webhook's address can be read in two ways.", ENCODE_LOGIN)
        headers = {"Content-Type": "application/json", "User-Agent": "edge-ad"}
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        elif token := credential(WEBHOOK_TOKEN):
            headers["Authorization"] = f"Bearer {token}"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        masked_address(url)  # remember what no message may quote
        return cls(parts.scheme == "https", parts.hostname, port, path, headers)

    def post(self, body: bytes, *, message_id: str, deadline: Deadline) -> int:
        """Send a body; returns the status of the response.

        Args:
            body: JSON.
            message_id: The same for every try.
            deadline: Of the whole: look-up, connection, request and answer.

        Raises:
            OSError: There is no connection, or no answer in time.
            http.client.HTTPException: The answer is no HTTP.
        """
        connection = HttpConnection(self.host, self.port, deadline=deadline, is_tls=self.is_tls)
        try:
            connection.request("POST", self.path, body, {**self.headers, "Idempotency-Key": message_id})
            status = connection.getresponse().status
            deadline.left_s()  # an answer that was cut off looks here like a complete one
            return status
        finally:
            connection.close()


class WebhookSink(Sink):
    """Posts every event except good parts, in order, each until the server has accepted it.

    A message that was not accepted is sent again after 0.5 s, 1 s, 2 s, ... up to 30 s; one that the server refuses
    (status 400 to 499) is given up. Each carries an ``Idempotency-Key``, the same in every try.

    Args:
        endpoint: Where to post.
        timeout_s: Longest time for one try, from the look-up of the name to the end of the answer.
        first_wait_s: Wait before the second try.
    """

    delivery = "lossy"

    def __init__(self, endpoint: Endpoint, *, timeout_s: float = 5.0, first_wait_s: float = 0.5) -> None:
        self._endpoint, self._timeout_s, self._first_wait_s = endpoint, timeout_s, first_wait_s
        self._name = f"webhook {endpoint.host}:{endpoint.port}"
        self._alarm = Alarm("webhook")
        self._outbox: Outbox[Event] | None = None
        self._given_up = 0
        self._deadline = Deadline()

    def attach(self, control: StreamControl) -> None:
        """Raise alarms there."""
        self._alarm.attach(control)

    def begin(self, source: Source) -> None:
        """Start to send."""
        self._deadline = Deadline()
        self._outbox = Outbox("webhook", self._send, self._failed, capacity=_CAPACITY)

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Does nothing: only events are posted."""

    def event(self, event: Event) -> None:
        """Post it."""
        if self._outbox is None or (event.kind == "part" and event.data.get("verdict") == "OK"):
            return
        self._outbox.put(event)
        self.dropped = self._outbox.dropped + self._given_up

    def close(self) -> None:
        """Send what waits, for three seconds at most."""
        if self._outbox is not None:
            self._outbox.close(_CLOSE_S, self._deadline.cancel)
            self.dropped = self._outbox.dropped + self._given_up
            self._outbox = None

    def _send(self, event: Event, wait: Callable[[float], bool]) -> None:
        body, message_id = to_json(event_record(event)).encode(), secrets.token_hex(16)
        tries, pause_s = 0, self._first_wait_s
        while (problem := self._try(body, message_id)) is not None:
            tries += 1
            if tries >= _ALARM_AFTER:
                self._alarm.raise_once(f"{self._name}: {problem}.")
            # Spread out, so that many devices do not return at the same moment.
            if not wait(pause_s * random.uniform(0.75, 1.25)):
                self._given_up += 1
                return
            pause_s = min(2 * pause_s, _LONGEST_WAIT_S)

    def _failed(self, error: Exception) -> None:
        self._alarm.raise_once(f"{self._name}: a message could not be sent ({error}).")

    def _try(self, body: bytes, message_id: str) -> str | None:
        """Post once; returns the error where another try may succeed."""
        try:
            self._deadline.start(self._timeout_s)
            status = self._endpoint.post(body, message_id=message_id, deadline=self._deadline)
        except (OSError, ValueError, http.client.HTTPException) as error:  # ValueError: an invalid host name
            return masked_text(str(error)) or type(error).__name__
        if status < 300:
            self._alarm.clear(f"{self._name} accepts messages again.")
            return None
        if status >= 500 or status in _TRY_AGAIN:
            return f"it answers {status}"
        self._given_up += 1
        self._alarm.raise_once(f"{self._name}: it refuses messages with status {status}.")
        return None
