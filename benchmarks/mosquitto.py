"""A real MQTT broker on a free port of this machine, which can be stopped and started again."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.local_program import LocalProgram, free_port
from edge_ad.errors import MissingDependencyError

__all__ = ["Mosquitto", "find_mosquitto"]


def find_mosquitto() -> str | None:
    """Path of the program; Debian keeps it where only root looks."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


class Mosquitto(LocalProgram):
    """The broker.

    Args:
        folder: Where its settings are written.
        settings: What it allows, in its own words; everybody if not given.

    Raises:
        MissingDependencyError: mosquitto is not installed.
    """

    def __init__(self, folder: Path, settings: str = "allow_anonymous true\n") -> None:
        program = find_mosquitto()
        if program is None:
            raise MissingDependencyError("There is no mosquitto here.", "Install it: apt-get install mosquitto")
        port = free_port()
        path = folder / "mosquitto.conf"
        path.write_text(f"listener {port} 127.0.0.1\n{settings}", encoding="utf-8")
        super().__init__([program, "-c", str(path)], port)
