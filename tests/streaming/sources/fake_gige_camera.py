"""Aravis's fake camera: a process that speaks GigE Vision on loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import pytest

from edge_ad.errors import MissingDependencyError
from edge_ad.runtime.aravis import load_aravis

_PROGRAM = "arv-fake-gv-camera-0.8"
_ADDRESS = ("127.0.0.1", 3956)  # the port of GVCP, GigE Vision's control protocol
_DISCOVERY = bytes.fromhex("42110002 0000 0001")  # key and flags, command, length 0, request 1


def need_fake_camera() -> None:
    """Skip the test where Aravis or its fake camera is not installed."""
    try:
        load_aravis()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    if shutil.which(_PROGRAM) is None:
        pytest.skip(f"{_PROGRAM} is not installed: apt install aravis-tools")


class FakeGigeCamera:
    """A camera that can be unplugged; a context manager.

    Args:
        serial: Its serial number.
        lost_per_thousand: How many of a thousand packets it loses.
        photos: Folder of photos of one size that it shows in turn as RGB8, or, grey with 12 bits, as Mono12p; None for
            a pattern that moves.
    """

    def __init__(self, serial: str = "GV01", lost_per_thousand: int = 0, photos: Path | None = None) -> None:
        self._command = [_PROGRAM, "-i", _ADDRESS[0], "-s", serial, "-r", str(lost_per_thousand)]
        if photos is not None:
            self._command = [sys.executable, str(Path(__file__).with_name("gige_photo_camera.py")), serial, str(photos)]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> FakeGigeCamera:
        self.plug_in()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()

    def plug_in(self) -> None:
        """Start it, and wait until it answers."""
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(self._command, stdin=quiet, stdout=quiet, stderr=quiet)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.1)
            for _ in range(300):
                assert self._process.poll() is None, "the fake camera has ended: is its port taken?"
                try:
                    probe.sendto(_DISCOVERY, _ADDRESS)
                    probe.recv(1024)
                except OSError:  # nothing there yet, or no answer yet
                    continue
                return
        raise AssertionError("the fake camera does not answer")

    def unplug(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
