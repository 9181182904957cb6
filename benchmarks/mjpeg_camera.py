"""A network camera for tests and benchmarks: JPEG files over HTTP, for ever, at a fixed rate.

Run it in a process of its own, as a camera is: ``python -m benchmarks.mjpeg_camera FOLDER --port 8090``.
"""

from __future__ import annotations

import argparse
import itertools
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.local_program import free_port

__all__ = ["MjpegCamera"]


class MjpegCamera:
    """Serves JPEG images at one port, and can be switched off and on again.

    Args:
        jpegs: Encoded images, shown in turn.
        fps: Frames per second.
        port: TCP port; 0 takes a free one and keeps it.
    """

    def __init__(self, jpegs: Sequence[bytes], *, fps: float = 30.0, port: int = 0) -> None:
        self.port = port
        self._jpegs, self._fps = jpegs, fps
        self._is_on = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Where it can be seen."""
        return f"http://127.0.0.1:{self.port}/video"

    def start(self) -> None:
        """Switch it on."""
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                camera._show(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._is_on.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port or free_port()), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Switch it off: viewers are cut off, new ones are refused."""
        self._is_on.clear()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _show(self, viewer: BaseHTTPRequestHandler) -> None:
        started = time.perf_counter()
        for number, jpeg in enumerate(itertools.cycle(self._jpegs), start=1):
            content = _numbered(jpeg, number)
            head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(content)
            try:
                viewer.wfile.write(head + content + b"\r\n")
            except OSError:
                return
            # By the clock and not by pauses, so that the rate is exact.
            time.sleep(max(0.0, started + number / self._fps - time.perf_counter()))
            if not self._is_on.is_set():
                return


def _numbered(jpeg: bytes, number: int) -> bytes:
    """A JPEG with a comment in it: no two frames of a camera are the same bytes."""
    return jpeg[:2] + b"\xff\xfe\x00\x0a%08d" % (number % 10**8) + jpeg[2:]


def main() -> None:
    """Serve frames as an MJPEG camera until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of .jpg files")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--fps", type=float, default=30.0)
    arguments = parser.parse_args()
    jpegs = [path.read_bytes() for path in sorted(arguments.folder.glob("*.jpg"))]
    camera = MjpegCamera(jpegs, fps=arguments.fps, port=arguments.port)
    camera.start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
