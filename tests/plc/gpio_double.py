"""The process of the GPIO lines with a file in place of a chip: each change of a line is a line of it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from edge_ad.plc.gpio_options import GpioOptions
from edge_ad.plc.gpio_process import serve

ROOT = Path(__file__).parents[2]


class FileLines:
    def __init__(self, path: Path) -> None:
        self._path = path

    def set(self, output: str, is_active: bool) -> None:
        with self._path.open("a") as file:
            file.write(f"{output} {int(is_active)} {time.monotonic()}\n")

    def edges(self) -> list[float]:
        return []

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self.set("closed", True)


def command(log: Path) -> list[str]:
    """What a `GpioSink` starts in place of the real process."""
    text = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.plc.gpio_double import main; main({str(log)!r})"
    return [sys.executable, "-c", text]


def changes(log: Path) -> list[tuple[str, int]]:
    return [(line.split()[0], int(line.split()[1])) for line in log.read_text().splitlines()] if log.exists() else []


def main(log: str) -> None:
    os.write(1, b'{"open": true}\n')
    serve(GpioOptions.from_dict(json.loads(sys.argv[1])), FileLines(Path(log)))
