"""Where the live page listens."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from dataclasses import dataclass

from edge_ad.errors import DeviceError, UsageError

__all__ = ["DEFAULT_PORT", "Address", "listen", "parse_address"]

DEFAULT_PORT = 8080
# While the door rests, connections wait here in turn; without room they try again, seconds later.
_BACKLOG = 256
# A small send buffer bounds what waits for a viewer that reads slowly, and so how old a picture can be there.
_SEND_BUFFER_BYTES = 256 << 10
_PATTERN = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]/\s]*))(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True)
class Address:
    """Host and port.

    Attributes:
        host: Name or IP address, without brackets.
        ip: The IP address it stands for.
        port: From 0; 0 lets the system choose one.
    """

    host: str
    ip: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.ip).is_loopback

    def url(self, port: int) -> str:
        """How a browser reaches it at a port."""
        if ipaddress.ip_address(self.ip).is_unspecified:
            return f"http://{socket.gethostname()}:{port}/"
        return f"http://[{self.host}]:{port}/" if ":" in self.host else f"http://{self.host}:{port}/"


def parse_address(text: str) -> Address:
    """Read ``HOST:PORT``, ``HOST``, ``:PORT``, ``PORT`` or nothing; what is left out is 127.0.0.1 and 8080.

    Raises:
        UsageError: It is none of these, or the host has no address.
    """
    if text.isascii() and text.isdigit():
        text = f":{text}"
    match = _PATTERN.fullmatch(text)
    port = int(match["port"] or DEFAULT_PORT) if match else -1
    if match is None or not 0 <= port <= 65535:
        raise UsageError(f"{text} is no address for the live page.", "Give HOST:PORT, such as 127.0.0.1:8080.")
    host = match["v6"] or match["host"] or "127.0.0.1"
    return Address(host, _resolve(host), port)


def listen(address: Address) -> socket.socket:
    """Open the listening socket; the caller closes it.

    Raises:
        DeviceError: The port is in use or may not be used.
        UsageError: The host is not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in address.ip else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        listener.bind((address.ip, address.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _failure(address, error) from error
    return listener


def _resolve(host: str) -> str:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"The host {host} has no address.", "Give an IP address of this machine.") from error
    # Browsers try both; IPv4 first, as most shop floors have it.
    addresses = sorted((entry[0] != socket.AF_INET, str(entry[4][0])) for entry in found)
    return addresses[0][1]


def _failure(address: Address, error: OSError) -> DeviceError | UsageError:
    where = f"port {address.port} of {address.host}"
    if error.errno == errno.EADDRINUSE:
        return DeviceError(f"The live page cannot use {where}: it is in use.", "Choose another: --web HOST:PORT")
    if error.errno == errno.EACCES:
        return DeviceError(f"The live page may not use {where}.", "Choose a port from 1024 on: --web HOST:PORT")
    if error.errno == errno.EADDRNOTAVAIL:
        return UsageError(f"{address.host} is not an address of this machine.", "Give one that is, or 0.0.0.0.")
    return DeviceError(f"The live page cannot use {where}: {error.strerror}.", "Choose another: --web HOST:PORT")
