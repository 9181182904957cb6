"""A machine that asks for a frame over HTTP: ``POST /trigger?id=…``."""

from __future__ import annotations

import hmac
import threading
from urllib.parse import parse_qs, urlsplit

from edge_ad.credentials import TRIGGER_TOKEN
from edge_ad.errors import DeviceError, UsageError
from edge_ad.streaming.bounded_server import BoundedHandler, BoundedServer
from edge_ad.streaming.triggers.base import AskedTrigger

__all__ = ["HttpTrigger"]

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_MOST_CONNECTIONS = 16
_REQUEST_S = 5.0  # from the connection to the end of the answer
_LONGEST_ID = 200


class HttpTrigger(AskedTrigger):
    """A small server: ``POST /trigger`` has the next frame judged and answers 202.

    It answers 409 while another id waits for its frame.

    Bound to this machine it needs no token. Elsewhere a request must bring ``Authorization: Bearer TOKEN``.

    Args:
        port: TCP port; 0 takes a free one.
        host: Address to listen at.
        token: Secret that a request must bring; empty asks for none.

    Attributes:
        port: The port it listens at.

    Raises:
        UsageError: Bound elsewhere than to this machine without a token.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", token: str = "") -> None:
        super().__init__()
        if host not in _LOOPBACK and not token:
            raise UsageError(
                f"A trigger that listens at {host} needs a token.",
                f"Set {TRIGGER_TOKEN}, or write http:{port} for this machine only.",
            )
        self.port = port
        self._host, self._token = host, token
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Listen."""
        try:
            self._server = _Server((self._host, self.port), self)
        except (OSError, OverflowError) as error:
            raise DeviceError(
                f"The trigger cannot listen at {self._host}:{self.port} ({error}).", "Choose another port."
            ) from None
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._serve, args=(self._server,), name="trigger-http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None and self._thread is not None:
            if self._thread.is_alive():
                self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        self._server = self._thread = None

    def _serve(self, server: _Server) -> None:
        try:
            server.serve_forever(0.1)
        except Exception as error:
            self.fail(error)

    def answer(self, method: str, target: str, origin: str | None, authorization: str) -> tuple[int, str]:
        """Do what a request asks for.

        Args:
            method: Such as ``"POST"``.
            target: Path and query.
            origin: Of the web page that sent it; None when no page did.
            authorization: The header of that name.

        Returns:
            Status and one line of text.
        """
        parts = urlsplit(target)
        if parts.path != "/trigger":
            return 404, "Only /trigger is here."
        if method != "POST":
            return 405, "POST /trigger?id=… asks for a frame."
        if origin is not None:
            return 403, "No web page may trigger."
        if self._token and not hmac.compare_digest(authorization.encode(), f"Bearer {self._token}".encode()):
            return 401, "The token is missing or wrong."
        identity = parse_qs(parts.query).get("id", [""])[0]
        if len(identity) > _LONGEST_ID or not identity.isprintable():
            return 400, f"An id has {_LONGEST_ID} printable characters at most."
        if not self.ask(identity):
            return 409, f"Another id still waits for its frame: {self.last_id}."
        return 202, "The next frame is judged."


class _Server(BoundedServer):
    def __init__(self, address: tuple[str, int], trigger: HttpTrigger) -> None:
        self.trigger = trigger
        super().__init__(address, _Handler, most=_MOST_CONNECTIONS, timeout_s=_REQUEST_S)


class _Handler(BoundedHandler):
    def _answer(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        headers = self.headers
        status, text = server.trigger.answer(
            self.command, self.path, headers.get("Origin"), headers.get("Authorization", "")
        )
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True  # whatever body came with the request is not read

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the names http.server asks for
