"""Debian's docker-registry on a free port of this machine; stopped and started again, it has what it held."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from edge_ad.errors import DeviceError, MissingDependencyError

__all__ = ["DockerRegistry", "find_docker_registry"]

_START_S = 30.0
_POLL_S = 0.05
_SETTINGS = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: "{folder}/blobs"}}}}
http: {{addr: "{host}"}}
"""


def find_docker_registry() -> str | None:
    """Path of the program; None where it is not installed."""
    return shutil.which("docker-registry")


class DockerRegistry:
    """The registry; entering the context starts it, leaving it stops it.

    Args:
        folder: Where its settings and what it stores are written.

    Attributes:
        host: Its address and port.

    Raises:
        MissingDependencyError: docker-registry is not installed.
    """

    def __init__(self, folder: Path) -> None:
        program = find_docker_registry()
        if program is None:
            raise MissingDependencyError("There is no docker-registry here.", "Install it: apt install docker-registry")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.host = f"127.0.0.1:{probe.getsockname()[1]}"
        path = folder / "registry.yml"
        path.write_text(_SETTINGS.format(folder=folder, host=self.host), encoding="utf-8")
        self._command = [program, "serve", str(path)]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> DockerRegistry:
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
        environment = os.environ | {"OTEL_TRACES_EXPORTER": "none"}
        nowhere = subprocess.DEVNULL
        self._process = subprocess.Popen(self._command, env=environment, stdout=nowhere, stderr=nowhere)
        until = time.monotonic() + _START_S
        while not self._answers():
            if time.monotonic() > until or self._process.poll() is not None:
                raise DeviceError(f"docker-registry does not answer at {self.host}.", "")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """End it at once; what it holds stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        name, _, port = self.host.partition(":")
        try:
            with socket.create_connection((name, int(port)), timeout=1.0):
                return True
        except OSError:
            return False
