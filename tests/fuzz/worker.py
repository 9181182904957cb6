"""A process that tries inputs one after the other, so that a crash or a hang of it is a finding and not the end."""

from __future__ import annotations

import gc
import math
import multiprocessing
import os
import re
import sys
import tempfile
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fuzz.target import Target

__all__ = ["Worker"]

_POLL_S = 0.02
_START_S = 120.0
_MIB = 1 << 20
_STATM = "/proc/{}/statm"


class Worker:
    """Tries inputs of a target. Starts again by itself after a crash, a hang, or too much memory."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._baseline_mib = math.inf
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Worker:
        self._start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def try_input(self, content: bytes) -> str:
        """What is wrong with what the target does with an input; empty when nothing is."""
        if self._process is None:
            self._start()
        assert self._pipe is not None
        self._pipe.send_bytes(content)
        finding = self._answer(self._target.limit_s)
        if finding.startswith(("crash", "hang", "memory")):
            self._stop()
        return finding

    def _answer(self, limit_s: float) -> str:
        assert self._process is not None
        assert self._pipe is not None
        deadline = time.monotonic() + limit_s
        while not self._pipe.poll(_POLL_S):
            if time.monotonic() > deadline:
                return f"hang: no answer in {limit_s:g} s"
            if self._used_mib() > self._baseline_mib + self._target.limit_mib:
                return f"memory: more than {self._target.limit_mib} MiB"
        try:
            return self._pipe.recv_bytes().decode()
        except EOFError:
            self._process.join(_START_S)
            return f"crash: the process ended with {self._process.exitcode}"

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._folder = tempfile.TemporaryDirectory(prefix="edge-ad-fuzz-")  # a worker that is killed removes nothing
        self._baseline_mib = math.inf
        self._process = context.Process(target=_serve, args=(self._target, theirs, self._folder.name), daemon=True)
        self._process.start()
        theirs.close()
        if (said := self._answer(_START_S)) != "ready":
            raise RuntimeError(f"The target {self._target.name} does not start: {said}")
        self._baseline_mib = self._used_mib()

    def _stop(self) -> None:
        if self._process is not None and self._pipe is not None:
            self._pipe.close()  # a worker that waits ends by itself
            self._process.join(2.0)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
        if self._folder is not None:
            self._folder.cleanup()
        self._process = self._pipe = self._folder = None

    def _used_mib(self) -> float:
        assert self._process is not None
        try:
            pages = Path(_STATM.format(self._process.pid)).read_text().split()[1]
        except (OSError, IndexError):  # another system, or it has just ended
            return 0.0
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / _MIB


def _serve(target: Target, pipe: Connection, folder: str) -> None:
    """The worker's side: an input in, what was found out."""
    os.environ["EDGE_AD_DEBUG"] = "1"
    os.environ["EDGE_AD_CACHE"] = f"{folder}/cache"
    tempfile.tempdir = folder
    try:
        target.open()
    except BaseException:
        pipe.send_bytes(traceback.format_exc().encode())
        return
    pipe.send_bytes(b"ready")
    try:
        while True:
            content = pipe.recv_bytes()
            pipe.send_bytes(_tried(target, content).encode(errors="replace"))
            gc.collect()
    except (EOFError, OSError):
        target.close()


def _tried(target: Target, content: bytes) -> str:
    try:
        return target.run(content)
    except BaseException as error:  # SystemExit too: nothing that reads input may end the process
        frame = traceback.extract_tb(error.__traceback__)[-1]
        message = re.sub(r"\d+", "N", " ".join(str(error).split()))[:200]
        traceback.print_exc(file=sys.stderr)
        return f"traceback: {type(error).__name__} in {Path(frame.filename).name}:{frame.name}: {message}"
