"""Run a function in a separate process, so that a crash or a hang there does not end this one."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge_ad import errors
from edge_ad.credentials import environment_for_child
from edge_ad.errors import BundleError, EdgeAdError, EngineCrashError
from edge_ad.runtime.cuda.device import PACKAGE_VARIABLE

__all__ = ["answer", "call"]

_POLL_S = 0.1
_LONGEST_S = 600  # far longer than any wait
_OUT_OF_MEMORY_SCORE = Path("/proc/self/oom_score_adj")  # Linux: which process is killed first when memory runs out
_HINT = "Build it again: edge-ad build-engine; if that does not help, use another backend."


def call(
    module: str,
    request: Mapping[str, Any],
    *,
    engine_of: Path,
    timeout_s: float,
    is_cancelled: threading.Event | None = None,
) -> str:
    """Have the ``main`` of a module answer a request in a separate process.

    Args:
        module: Full name of the module; its ``main`` calls `answer`.
        request: Passed on as JSON.
        engine_of: Folder of the bundle whose engine runs there, for messages.
        timeout_s: Longest that the process may take, in seconds.
        is_cancelled: Ends the process when it is set.

    Returns:
        What the function in the process returned.

    Raises:
        EngineCrashError: The process was ended by a signal, or gave no answer.
        BundleError: It took too long, or was cancelled.
        EdgeAdError: What the function raised.
    """
    command = [sys.executable, "-c", f"from {module} import main; main()", json.dumps(request)]
    # Import nothing from the current folder.
    environment = environment_for_child() | {"PYTHONSAFEPATH": "1"}
    if PACKAGE_VARIABLE in os.environ:  # the GPU is used as the caller will use it
        environment[PACKAGE_VARIABLE] = os.environ[PACKAGE_VARIABLE]
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            output = _output(process, engine_of, timeout_s, is_cancelled or threading.Event())
        finally:
            process.kill()
    return _result(output, process.returncode, engine_of)


def answer(function: Callable[[dict[str, Any]], str], *, engine_of: Callable[[dict[str, Any]], str]) -> None:
    """Inside that process: call a function with the request and print one JSON object for `call`.

    Args:
        function: Request → result in words.
        engine_of: Request → folder of the bundle whose engine runs, for messages.
    """
    logging.disable()  # the caller opens the engine too, and reports the same
    request = json.loads(sys.argv[1])
    if hasattr(signal, "alarm"):
        signal.alarm(_LONGEST_S)  # the caller may have been killed
    with suppress(OSError):  # a graph that takes all memory must not end the stream
        _OUT_OF_MEMORY_SCORE.write_text("1000")
    try:
        found = {"error": "", "message": function(request), "hint": ""}
    except EdgeAdError as error:
        found = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    except Exception as error:  # an engine with any fault must not be used
        message = f"The engine of {engine_of(request)} fails: {type(error).__name__}: {' '.join(str(error).split())}."
        found = {"error": BundleError.__name__, "message": message, "hint": "Build it again: edge-ad build-engine"}
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def _output(
    process: subprocess.Popen[bytes], engine_of: Path, timeout_s: float, is_cancelled: threading.Event
) -> bytes:
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if is_cancelled.is_set():
            raise BundleError(f"{engine_of} was not verified: the stream ends.")
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=_POLL_S)[0]
    raise BundleError(f"The engine of {engine_of} does not answer within {timeout_s:g} s.", _HINT)


def _result(output: bytes, code: int, engine_of: Path) -> str:
    """The answer of the process; anything but a clear success is an error."""
    try:
        found = json.loads(output.splitlines()[-1])  # a library may have printed something before
        kind, message, hint = found["error"], str(found["message"]), str(found["hint"])
    except (ValueError, LookupError, TypeError) as error:
        why = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        raise EngineCrashError(
            f"The engine of {engine_of} crashes: the process that verifies it {why}.", _HINT
        ) from error
    if kind:
        raise getattr(errors, kind, BundleError)(message, hint)
    return message
