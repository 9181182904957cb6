"""A small OCI registry behind a real socket: blobs, manifests and tags as specified, and faults."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_PATH = re.compile(r"/v2/(?P<name>.+)/(?P<kind>blobs|manifests)/(?P<what>[^/]+|uploads/[^/]*)")


class RegistryDouble(ThreadingHTTPServer):
    """What it holds, and what it does wrong; a test changes both while it runs."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], bytes] = {}
        self.login = ""  # "user:password", where one is needed
        self.has_tokens = False  # whether the login is exchanged for tokens, each for what its scope allows
        self.given: dict[str, bytes] = {}  # blobs of which another content is given
        self.is_cut = False  # blobs end in the middle
        self.status = 0  # what every request is answered
        self.redirects: dict[str, str] = {}  # digest of a blob → where its content is said to be
        self.is_silent = False  # whether every request waits for its answer until the registry ends
        self.has_ended = threading.Event()
        self.is_endless = False  # whether every answer but those of blobs never ends
        self.logins: list[str] = []  # every Authorization that came
        self.sent_blob_bytes = 0
        self.requests: list[str] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RegistryDouble

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815 - the names that http.server calls

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        self.server.requests.append(f"{self.command} {url.path}")
        self.server.logins += self.headers.get_all("Authorization") or []
        if self.server.is_silent:
            self.server.has_ended.wait()
            return None
        if self.server.is_endless:
            return self._never_end()
        if self.server.status:
            return self._answer(self.server.status)
        login = base64.b64encode(self.server.login.encode()).decode()
        if self.server.has_tokens:
            if url.path == "/token":
                is_known = self.headers.get("Authorization") == f"Basic {login}"
                token = json.dumps({"token": parse_qs(url.query)["scope"][0].rpartition(":")[2]}).encode()
                return self._answer(200, token) if is_known else self._answer(401)
            scope = "pull" if self.command in ("GET", "HEAD") else "pull,push"
            if scope not in self.headers.get("Authorization", "").removeprefix("Bearer "):
                realm = f'Bearer realm="http://{self.server.host}/token",scope="repository:line/screw:{scope}"'
                return self._answer(401, headers={"Www-Authenticate": realm})
        elif self.server.login and self.headers.get("Authorization") != f"Basic {login}":
            return self._answer(401, headers={"Www-Authenticate": 'Basic realm="plant"'})
        match = _PATH.fullmatch(url.path)
        if match is None:
            return self._answer(200 if url.path == "/v2/" else 404)
        if match["kind"] == "manifests":
            return self._manifest(match["name"], match["what"], body)
        if match["what"].startswith("uploads/"):
            return self._upload(match["name"], parse_qs(url.query), body)
        return self._blob(match["what"])

    def _manifest(self, name: str, what: str, body: bytes) -> None:
        if self.command == "PUT":
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            self.server.manifests[name, what] = self.server.manifests[name, digest] = body
            return self._answer(201, headers={"Docker-Content-Digest": digest})
        content = self.server.manifests.get((name, what))
        if content is None:
            return self._answer(404)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return self._answer(200, content, {"Docker-Content-Digest": digest})

    def _upload(self, name: str, query: dict[str, list[str]], body: bytes) -> None:
        if self.command == "POST":
            return self._answer(202, headers={"Location": f"/v2/{name}/blobs/uploads/1"})
        (digest,) = query["digest"]
        if digest != f"sha256:{hashlib.sha256(body).hexdigest()}":
            return self._answer(400)
        self.server.blobs[digest] = body
        return self._answer(201)

    def _blob(self, digest: str) -> None:
        if digest in self.server.redirects:
            return self._answer(307, headers={"Location": self.server.redirects[digest]})
        content = self.server.given.get(digest, self.server.blobs.get(digest))
        if content is None:
            return self._answer(404)
        if self.command == "GET":
            self.server.sent_blob_bytes += len(content)
        return self._answer(200, content)

    def _never_end(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        with suppress(OSError):  # the client has gone
            while True:
                self.wfile.write(bytes(1 << 20))

    def _answer(self, status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        is_cut = self.server.is_cut and "/blobs/" in self.path
        self.wfile.write(content[: len(content) // 2] if is_cut else content)
        self.close_connection = self.close_connection or is_cut


@contextmanager
def running_registry() -> Iterator[RegistryDouble]:
    with RegistryDouble() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.has_ended.set()
            server.shutdown()
            thread.join()
