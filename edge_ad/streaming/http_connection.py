"""HTTP connections that keep a deadline from the look-up of the name to the last byte."""

from __future__ import annotations

import http.client
import ssl

from edge_ad.streaming.deadline import Deadline

__all__ = ["HttpConnection"]


class HttpConnection(http.client.HTTPConnection):
    """A connection of the standard library whose every wait counts against one deadline.

    Args:
        host: Name or address, with its port where that is not the usual one.
        port: TCP port; None for what ``host`` says, or the usual one.
        deadline: Of the exchange.
        is_tls: Whether it is encrypted, with the certificates that this machine trusts.
    """

    def __init__(self, host: str, port: int | None = None, *, deadline: Deadline, is_tls: bool) -> None:
        self.default_port = http.client.HTTPS_PORT if is_tls else http.client.HTTP_PORT
        super().__init__(host, port)
        self._deadline, self._is_tls = deadline, is_tls

    def connect(self) -> None:
        """Connect within the deadline."""
        tls = ssl.create_default_context() if self._is_tls else None
        self.sock = self._deadline.connect(self.host, self.port, tls)
