"""A real nginx in front of a live page, configured as the documentation says."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import urlencode

import pytest

from benchmarks.local_program import free_port
from tests.server.live_page import Answer
from tests.streaming.results import PATIENCE_S

__all__ = ["NAME", "Nginx"]

NAME = "line.example"
_DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "live_page.md"
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
_START_S = 60.0
_AROUND = """daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{server}
}}
"""


class Nginx:
    """nginx with TLS on a free port. A context manager.

    Args:
        page_port: Where the page is.
        folder: For its files.
    """

    def __init__(self, page_port: int, folder: Path) -> None:
        self._folder, self._log = folder, folder / "error.log"
        self.port = free_port()
        binary, openssl = _find("nginx"), _find("openssl")
        _make_certificate(openssl, folder)
        (folder / "nginx.conf").write_text(_AROUND.format(folder=folder, server=self._server(page_port)))
        self._process = subprocess.Popen(
            [binary, "-p", str(folder), "-e", str(self._log), "-c", str(folder / "nginx.conf")]
        )

    def __enter__(self) -> Nginx:
        until = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S).close()
                return self
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    self._end()
                    raise AssertionError(f"nginx does not start: {self._log.read_text()}") from None
                time.sleep(0.02)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def connect(self, source: str = "127.0.0.1") -> http.client.HTTPConnection:
        """A TLS connection to the public name, from an address of this machine."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S, source_address=(source, 0))
        connection = http.client.HTTPConnection(NAME, timeout=PATIENCE_S)
        trusting = ssl.create_default_context(cafile=str(self._folder / "page.crt"))
        connection.sock = trusting.wrap_socket(plain, server_hostname=NAME)
        return connection

    def request(
        self, method: str, path: str, body: str | None = None, *, source: str = "127.0.0.1", **headers: str
    ) -> Answer:
        """The answer to what a browser sends from a page of the public name."""
        sent = {"origin": f"https://{NAME}:{self.port}", "sec-fetch-site": "same-origin"} if method == "POST" else {}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = self.connect(source)
        try:
            connection.request(method, path, body, {**sent, **named})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def log_in(self, token: str, *, source: str = "127.0.0.1", **headers: str) -> Answer:
        """What the form of the login gets."""
        form = {"content_type": "application/x-www-form-urlencoded"}
        return self.request("POST", "/login", urlencode({"token": token}), source=source, **form, **headers)

    def _server(self, page_port: int) -> str:
        """The block of the documentation, with this machine's ports and files."""
        text = _DOCUMENT.read_text()
        block = text[text.index("```nginx\n") + 9 :]
        block = block[: block.index("```")]
        for old, new in (
            ("listen 443", f"listen 127.0.0.1:{self.port}"),
            ("/etc/ssl/line.example.crt", str(self._folder / "page.crt")),
            ("/etc/ssl/line.example.key", str(self._folder / "page.key")),
            ("127.0.0.1:8080", f"127.0.0.1:{page_port}"),
        ):
            assert block.count(old) == 1, old
            block = block.replace(old, new)
        return block

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_S)


def _find(program: str) -> str:
    found = shutil.which(program, path=_PATH)
    if found is None:
        pytest.skip(f"no {program} on the path")
    return found


def _make_certificate(openssl: str, folder: Path) -> None:
    made = ("-keyout", str(folder / "page.key"), "-out", str(folder / "page.crt"))
    kind = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}")
    names = ("-addext", f"subjectAltName=DNS:{NAME}")
    subprocess.run([openssl, *kind, *names, *made], check=True, capture_output=True)
