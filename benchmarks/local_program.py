"""A server program on a port of this machine, which can be stopped and started again."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from edge_ad.errors import DeviceError

__all__ = ["LocalProgram", "free_port"]

_Program = TypeVar("_Program", bound="LocalProgram")
_START_S = 30.0
_POLL_S = 0.02


# Below those that systems give to connections: between the choice of a port and its use, nobody gets it by chance.
# Processes that run at the same time begin at different ones.
_FIRST_PORT, _PORTS = 20_000, 12_000
_turns = itertools.count(397 * os.getpid())


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has now, and that the system gives to nobody who asks for any."""
    for turn in itertools.islice(_turns, _PORTS):
        port = _FIRST_PORT + turn % _PORTS
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise DeviceError("No port is free here.", f"End a program that has one of {_FIRST_PORT} and the next {_PORTS}.")


class LocalProgram:
    """A server; entering the context starts it, leaving it stops it.

    Args:
        command: Its program and what that is told.
        port: TCP port on 127.0.0.1 at which it answers.
        variables: Of its environment, beside those of this process.
    """

    def __init__(self, command: Sequence[str], port: int, variables: Mapping[str, str] | None = None) -> None:
        self.port = port
        self._command, self._variables = list(command), dict(variables or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self: _Program) -> _Program:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            DeviceError: It does not.
        """
        nowhere = subprocess.DEVNULL
        environment = os.environ | self._variables
        self._process = subprocess.Popen(self._command, env=environment, stdout=nowhere, stderr=nowhere)
        until = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                message = f"{self._command[0]} does not answer at port {self.port}."
                raise DeviceError(message, "Start it by hand to see why.")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """End it at once, as a power cut does; what it stored stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1.0):
            return True
        return False
