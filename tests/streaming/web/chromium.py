"""A headless Chromium that is told what to do through its DevTools pipe: no driver, no port."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["Chromium", "find_chromium"]

_OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --hide-scrollbars "
    "--remote-debugging-pipe"
)
# Chromium reads commands from descriptor 3 and answers on 4.
_LAUNCHER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
_START_S = 20.0
_ANSWER_S = 10.0


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Chromium:
    """One page of a browser, with further options of its command line. A context manager."""

    def __init__(self, binary: str, profile: Path, *options: str) -> None:
        self.problems: list[str] = []
        self._number = 0
        self._buffer = b""
        self._session: str | None = None
        command_read, self._commands = os.pipe()
        self._answers, answer_write = os.pipe()
        given = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (command_read, answer_write)]
        command = [binary, *_OPTIONS.split(), *options, f"--user-data-dir={profile}", "about:blank"]
        quiet: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", _LAUNCHER, *map(str, given), *command], pass_fds=given, **quiet
        )
        for end in (command_read, answer_write, *given):
            os.close(end)

    def __enter__(self) -> Chromium:
        try:
            target = self.call("Target.createTarget", url="about:blank", limit_s=_START_S)["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._commands)  # the browser ends with its pipe
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._answers)

    def open(self, url: str, *, width: int, height: int, scale: float = 1.0) -> None:
        """Show a page at a size in CSS pixels."""
        self.call("Page.navigate", url="about:blank")
        self.problems.clear()
        self.resize(width, height, scale=scale)
        self.call("Page.navigate", url=url)

    def resize(self, width: int, height: int, *, scale: float = 1.0) -> None:
        """Give the page another size in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str, limit_s: float = 8.0) -> Any:
        """The first value of an expression that is true."""
        until = time.monotonic() + limit_s
        while not (value := self._try(expression)):
            assert time.monotonic() < until, f"not true in the page: {expression}"
            time.sleep(0.05)
        return value

    def _try(self, expression: str) -> Any:
        """Its value, or None where the page is just being replaced and has nothing of what the expression names."""
        try:
            return self.evaluate(expression)
        except AssertionError:
            return None

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, *, times: int = 1) -> None:
        """Press a key by its name, such as ``"Enter"``."""
        more = {"text": "\r"} if key == "Enter" else {}
        codes = {"Enter": 13, "Tab": 9, "Escape": 27}
        for _ in range(times):
            key_code = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
            self.call("Input.dispatchKeyEvent", type="keyDown", **key_code, **more)
            self.call("Input.dispatchKeyEvent", type="keyUp", **key_code)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def call(self, method: str, *, limit_s: float = _ANSWER_S, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + limit_s
        while (answer := self._read(until)).get("id") != self._number:
            self._note(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return dict(answer["result"])

    def _read(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._answers], [], [], max(0.0, until - time.monotonic()))[0], "no answer"
            chunk = os.read(self._answers, 1 << 20)
            assert chunk, "the browser has ended"
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    def _note(self, event: dict[str, Any]) -> None:
        """Keep what the page complains about, such as a refusal by its own security policy."""
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(parameters["exceptionDetails"]))
        if event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.problems.append(parameters["entry"]["text"])
