"""Debian's docker-registry as a process on a free port, where it is installed."""

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = shutil.which("docker-registry")
_START_S = 30.0
_CONFIG = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "{host}"}}
"""


@contextmanager
def running_docker_registry(folder: Path, host: str = "") -> Iterator[str]:
    """Yields its ``host:port``; what it stores lies in the folder, and is there again when it is started again."""
    assert PROGRAM is not None
    host = host or f"127.0.0.1:{_free_port()}"
    config = folder / "registry.yml"
    config.write_text(_CONFIG.format(root=folder / "blobs", host=host))
    environment = os.environ | {"OTEL_TRACES_EXPORTER": "none"}
    with subprocess.Popen(
        [PROGRAM, "serve", str(config)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait(host)
            yield host
        finally:
            process.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait(host: str) -> None:
    until = time.monotonic() + _START_S
    while True:
        try:
            with urllib.request.urlopen(f"http://{host}/v2/", timeout=1):
                return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
