"""Addresses of models on a server."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_ad.errors import UsageError

__all__ = ["ServerAddress", "parse_server_address"]

_PATTERN = re.compile(
    r"(?P<scheme>grpcs?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})"
    r"/(?P<model>[A-Za-z0-9][A-Za-z0-9._-]*)(?:/(?P<version>\d+))?"
)


@dataclass(frozen=True)
class ServerAddress:
    """A model on a server.

    Attributes:
        endpoint: ``host:port``.
        model: Name of the model.
        version: Its version; empty for the server's choice, usually the newest.
        is_encrypted: Whether by TLS.
    """

    endpoint: str
    model: str
    version: str = ""
    is_encrypted: bool = False

    def __str__(self) -> str:
        scheme = "grpcs" if self.is_encrypted else "grpc"
        return f"{scheme}://{self.endpoint}/{self.model}{f'/{self.version}' if self.version else ''}"


def parse_server_address(text: str) -> ServerAddress:
    """Parse ``grpc://HOST:PORT/MODEL`` or ``grpcs://HOST:PORT/MODEL/VERSION``.

    Raises:
        UsageError: It is neither.
    """
    match = _PATTERN.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise UsageError(
            f"{text} is no model on a server.", "Write grpc://HOST:PORT/MODEL, such as grpc://line:8001/screw."
        )
    endpoint = f"{match['host']}:{match['port']}"
    return ServerAddress(endpoint, match["model"], match["version"] or "", match["scheme"] == "grpcs")
