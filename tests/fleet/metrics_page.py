"""The metrics of a stream behind a real socket, as a test sets them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from edge_ad.storage import sha256_file


class MetricsPage(ThreadingHTTPServer):
    """A stream that takes over whatever the folder holds, and whose health depends on it."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.unhealthy = ""  # hash of the bundle that raises an alarm
        self.taken = ""  # what is said to be used instead of the folder's

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/metrics"

    def text(self) -> str:
        bundle = sha256_file(self.root / "manifest.json")
        lines = [
            f'edge_ad_bundle_info{{bundle="{self.taken or bundle}"}} 1.0',
            'edge_ad_frames_per_second{source="camera"} 10.0',
            f"edge_ad_alarms {1.0 if bundle == self.unhealthy else 0.0}",
        ]
        return "\n".join(lines) + "\n"


class _Handler(BaseHTTPRequestHandler):
    server: MetricsPage

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        content = self.server.text().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def running_metrics(root: Path) -> Iterator[MetricsPage]:
    with MetricsPage(root) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
