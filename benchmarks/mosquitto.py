"""A real MQTT broker on a free port of this machine, which can be stopped and started again."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from edge_ad.errors import DeviceError, MissingDependencyError

__all__ = ["Mosquitto", "find_mosquitto"]

_START_S = 30.0
_POLL_S = 0.02


def find_mosquitto() -> str | None:
    """Path of the program; Debian keeps it where only root looks."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


class Mosquitto:
    """The broker; entering the context starts it, leaving it stops it.

    Args:
        folder: Where its settings are written.
        settings: What it allows, in its own words; everybody if not given.

    Attributes:
        port: TCP port on 127.0.0.1.

    Raises:
        MissingDependencyError: mosquitto is not installed.
    """

    def __init__(self, folder: Path, settings: str = "allow_anonymous true\n") -> None:
        program = find_mosquitto()
        if program is None:
            raise MissingDependencyError("There is no mosquitto here.", "Install it: apt-get install mosquitto")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        path = folder / "mosquitto.conf"
        path.write_text(f"listener {self.port} 127.0.0.1\n{settings}", encoding="utf-8")
        self._command = [program, "-c", str(path)]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            DeviceError: It does not.
        """
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise DeviceError(f"mosquitto does not answer at port {self.port}.", "Start it by hand to see why.")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """End it at once, as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
