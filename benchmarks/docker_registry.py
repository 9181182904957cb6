"""Debian's docker-registry on a free port of this machine; stopped and started again, it has what it held."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.local_program import LocalProgram, free_port
from edge_ad.errors import MissingDependencyError

__all__ = ["DockerRegistry", "find_docker_registry"]

_SETTINGS = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: "{folder}/blobs"}}}}
http: {{addr: "{host}"}}
"""


def find_docker_registry() -> str | None:
    """Path of the program; None where it is not installed."""
    return shutil.which("docker-registry")


class DockerRegistry(LocalProgram):
    """The registry.

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
        port = free_port()
        self.host = f"127.0.0.1:{port}"
        path = folder / "registry.yml"
        path.write_text(_SETTINGS.format(folder=folder, host=self.host), encoding="utf-8")
        super().__init__([program, "serve", str(path)], port, {"OTEL_TRACES_EXPORTER": "none"})
