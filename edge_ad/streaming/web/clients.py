"""Which address a request comes from."""

from __future__ import annotations

import ipaddress

__all__ = ["client_address", "network_of"]

_IPV6_PREFIX = 64  # one customer, and often one machine, has all addresses below it


def client_address(peer: str, forwarded: str) -> str:
    """The IP address of the client, where a reverse proxy on this machine may stand between.

    Args:
        peer: Of the connection.
        forwarded: The request's ``X-Forwarded-For``. Its last entry counts, and only from this machine: that one the
            proxy has written, and whatever stands before it came from the client.
    """
    own, client = _ip(peer), _ip(forwarded.rpartition(",")[2].strip())
    return peer if client is None or own is None or not own.is_loopback else str(client)


def network_of(address: str) -> str:
    """Whose budget an address has: IPv4 as it is, IPv6 without its last half; empty for what is no address."""
    ip = _ip(address)
    if ip is None or ip.version == 4:
        return "" if ip is None else str(ip)
    return str(ipaddress.ip_network((int(ip), _IPV6_PREFIX), strict=False))


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address without its zone; IPv4 that is written as IPv6 is IPv4."""
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip
