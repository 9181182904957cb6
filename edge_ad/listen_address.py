"""Addresses to listen at, and their sockets."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from dataclasses import dataclass, replace

from edge_ad.errors import DeviceError, UsageError

__all__ = ["BACKLOG", "Address", "failure_to_listen", "listen", "parse_address"]

BACKLOG = 1024
"""Connections that may wait to be accepted."""

# A small send buffer bounds what waits for a slow client, and so the age of what it sees.
_SEND_BUFFER_BYTES = 256 << 10
_PATTERN = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]/\s]*))(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True)
class Address:
    """Host and port.

    Attributes:
        host: Name or IP address, without brackets.
        ip: The IP address it stands for.
        port: From 0; 0 lets the system choose one.
        option: The option of the command line that names it, for messages.
    """

    host: str
    ip: str
    port: int
    option: str = "--web"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.ip).is_loopback

    @property
    def url(self) -> str:
        """How a browser reaches it."""
        if ipaddress.ip_address(self.ip).is_unspecified:
            return f"http://{socket.gethostname()}:{self.port}/"
        return f"http://[{self.host}]:{self.port}/" if ":" in self.host else f"http://{self.host}:{self.port}/"

    def at_port(self, port: int) -> Address:
        """The same host, at another port."""
        return replace(self, port=port)


def parse_address(text: str, *, port: int = 8080, option: str = "--web") -> Address:
    """Parse ``HOST:PORT``, ``HOST``, ``:PORT``, ``PORT`` or nothing; the defaults are 127.0.0.1 and the usual port.

    Args:
        text: One of these.
        port: The usual one.
        option: The option of the command line that it was given with.

    Raises:
        UsageError: It is none of these, or the host has no address.
    """
    bare = text.isascii() and text.isdigit()
    match = _PATTERN.fullmatch(f":{text}" if bare else text)
    given = int(match["port"] or port) if match else -1
    if match is None or not 0 <= given <= 65535:
        raise UsageError(
            f"{text} is not an address to listen on.", f"Give HOST:PORT, such as {option} 127.0.0.1:{port}."
        )
    host = match["v6"] or match["host"] or "127.0.0.1"
    return Address(host, _resolve(host), given, option)


def listen(address: Address, *, stall_s: float) -> socket.socket:
    """Open a listening socket; the caller closes it.

    Args:
        address: Where.
        stall_s: Seconds after which the kernel ends a connection whose client reads nothing (Linux).

    Raises:
        DeviceError: The port is in use or may not be used.
        UsageError: The host is not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in address.ip else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Every accepted connection inherits these.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * stall_s))
        listener.bind((address.ip, address.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise failure_to_listen(address, error) from error
    return listener


def failure_to_listen(address: Address, error: OSError) -> DeviceError | UsageError:
    """What to raise where the system refuses an address.

    Args:
        address: The one that was asked for.
        error: What the system said.
    """
    where, option = f"port {address.port} of {address.host}", address.option
    if error.errno == errno.EADDRINUSE:
        return DeviceError(f"The server cannot use {where}: it is in use.", f"Choose another: {option} HOST:PORT")
    if error.errno == errno.EACCES:
        return DeviceError(f"The server may not use {where}.", f"Choose a port from 1024 on: {option} HOST:PORT")
    if error.errno == errno.EADDRNOTAVAIL:
        return UsageError(f"{address.host} is not an address of this machine.", "Give one that is, or 0.0.0.0.")
    return DeviceError(f"The server cannot use {where}: {error.strerror}.", f"Choose another: {option} HOST:PORT")


def _resolve(host: str) -> str:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"The host {host} has no address.", "Give an IP address of this machine.") from error
    # Browsers try both; IPv4 first, which most shop floors use.
    addresses = sorted((entry[0] != socket.AF_INET, str(entry[4][0])) for entry in found)
    return addresses[0][1]
