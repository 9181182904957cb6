"""granian on listening sockets."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edge_ad.listen_address import BACKLOG
from edge_ad.server.access import Limits

if TYPE_CHECKING:
    from granian.server.embed import Server

__all__ = ["cut_connections", "granian_on"]

_OTHER_FILES = 256  # descriptors reserved for the stream


def granian_on(listener: socket.socket, app: Any, limits: Limits) -> Server:
    """A granian server on a listening socket that it takes over from us."""
    from granian._granian import SocketHolder
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.server import embed

    holder: Any = SocketHolder  # takes a descriptor, and on some systems more

    class SocketServer(embed.Server):  # granian has no public way to pass it a socket
        def _init_shared_socket(self) -> None:
            more = {"linux": (False, self.backlog), "win32": ()}.get(sys.platform, (False,))
            self._ssp: Any = None
            self._shd: Any = holder(listener.detach(), *more)

    return SocketServer(
        app,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=_connections(limits.connections),
        http1_settings=HTTP1Settings(
            header_read_timeout=round(1000 * limits.idle_s), max_buffer_size=limits.header_bytes
        ),
        log_enabled=False,
        # Without "incremental" it would close all logging handlers of this process.
        log_dictconfig={"incremental": True, "handlers": {}, "loggers": {"_granian": {}}},
    )


def _connections(most: int) -> int:
    """The limit of connections, as far as file descriptors allow it."""
    try:
        import resource
    except ImportError:  # Windows
        return most
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else max(64, min(most, soft - _OTHER_FILES))


def cut_connections(port: int) -> None:
    """End every connection that this process has accepted at a port, without waiting for clients."""
    for name in os.listdir("/dev/fd") if os.path.isdir("/dev/fd") else []:  # noqa: PTH112, PTH208 - no paths of files
        with suppress(OSError):  # it is no socket, or was closed
            connection = socket.socket(fileno=int(name))
            try:
                if connection.getpeername() and connection.getsockname()[1] == port:
                    connection.shutdown(socket.SHUT_RDWR)
            finally:
                connection.detach()
