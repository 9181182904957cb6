"""Client of one repository of an OCI registry (OCI distribution specification 1.1), over the ORAS library.

ORAS repeats every failed request for minutes and sets no time-outs; here each request is made once, with time-outs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from edge_ad.credentials import REGISTRY_PASSWORD, REGISTRY_USER, credential
from edge_ad.errors import BundleError, DeviceError, UsageError, require
from edge_ad.fleet.artifact import MANIFEST_TYPE, Descriptor, digest_of
from edge_ad.fleet.reference import ArtifactReference, is_digest
from edge_ad.fleet.registry_session import ANSWER_S, guard_session

__all__ = ["RegistryClient", "RegistryContentError"]

_LARGEST_MANIFEST_BYTES = 4 << 20  # what the distribution specification asks of every registry
_CHUNK_BYTES = 1 << 20
_DIGEST_HEADER = "Docker-Content-Digest"
_LOGIN_HINT = f"Log in with docker login or oras login, or set {REGISTRY_USER} and {REGISTRY_PASSWORD}."
_AWAY_HINT = "Nothing was changed. Check the address and the network, and try again."


class RegistryContentError(BundleError):
    """A registry gives another content than its digest names, or none."""


class RegistryClient:
    """Reads and writes artifacts of one repository.

    The login comes from ``EDGE_AD_REGISTRY_USER`` and ``EDGE_AD_REGISTRY_PASSWORD``, else from Docker's configuration.
    Certificates are checked; ``REQUESTS_CA_BUNDLE`` names those of an own authority.

    Args:
        reference: An artifact in the repository.
        plain_http: Speak HTTP without TLS; a registry on this machine is always spoken to so.
        answer_s: How long the registry may take to answer a question, in seconds.

    Raises:
        MissingDependencyError: The extra ``fleet`` is not installed.
    """

    def __init__(self, reference: ArtifactReference, *, plain_http: bool = False, answer_s: float = ANSWER_S) -> None:
        self._reference, self._is_plain = reference, plain_http or reference.is_loopback
        self._answer_s = answer_s
        self._oras = require("oras.provider", extra="fleet")
        self._failures = require("requests.exceptions", extra="fleet")
        require("oras.logger", extra="fleet").setup_logger(quiet=True)
        self._container = require("oras.container", extra="fleet").Container(reference.words)
        self._registry: Any = None

    def __enter__(self) -> RegistryClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._registry is not None:
            self._registry.session.close()

    def digest(self, name: str) -> str:
        """The digest that a tag names now.

        Raises:
            UsageError: There is no such tag.
            DeviceError: The registry does not answer, or refuses the login.
        """
        answer = self._manifest_request("HEAD", name)
        found = answer.headers.get(_DIGEST_HEADER, "") if answer.status_code == 200 else ""
        return found if is_digest(found) else digest_of(self.manifest(name))  # the header is optional

    def manifest(self, name: str) -> bytes:
        """The manifest of a tag or digest; that of a digest has this digest.

        Raises:
            UsageError: There is none.
            RegistryContentError: It has another digest, or is far too large.
            DeviceError: The registry does not answer, or refuses the login.
        """
        content = self.find_manifest(name)
        if content is None:
            raise UsageError(
                f"{self._reference.named(name).words} is not in the registry.", "Check the name and the tag."
            )
        return content

    def find_manifest(self, name: str) -> bytes | None:
        """As `manifest`; None where there is none."""
        with self._failures_named():
            answer = self._manifest_request("GET", name)
            if answer.status_code == 404:
                return None
            content = b"".join(_limited(answer.iter_content(_CHUNK_BYTES), _LARGEST_MANIFEST_BYTES, name))
        if is_digest(name) and digest_of(content) != name:
            raise RegistryContentError(f"The registry gives another manifest than {name}.", "Do not use this registry.")
        return content

    def put_manifest(self, name: str, content: bytes) -> str:
        """Store a manifest under a tag.

        Returns:
            Its digest.

        Raises:
            DeviceError: The registry does not answer, refuses it, or refuses the login.
        """
        self._request(self._manifest_url(name), "PUT", data=content, headers={"Content-Type": MANIFEST_TYPE})
        return digest_of(content)

    def upload(self, path: Path, blob: Descriptor) -> bool:
        """Store a file, unless the registry has it.

        Returns:
            Whether it was sent.

        Raises:
            DeviceError: The registry does not answer, refuses it, or refuses the login.
            OSError: The file cannot be read.
        """
        layer = {"digest": blob.digest, "size": blob.size}
        with self._failures_named():
            if self._opened().blob_exists(layer, self._container):
                return False
            answer = self._opened().put_upload(str(path), self._container, layer)
            if answer.status_code not in (201, 202):
                raise DeviceError(f"The registry {self._reference.host} does not take {path.name} ({_words(answer)}).")
        return True

    def download(self, blob: Descriptor, path: Path) -> None:
        """Write a blob to a file; what is written has the size and the digest of the descriptor.

        Raises:
            RegistryContentError: The registry has no such blob, or gives another content.
            DeviceError: The registry does not answer, ends in the middle, or refuses the login.
            OSError: The file cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            for chunk in self._blob_chunks(blob):
                file.write(chunk)

    def blob(self, blob: Descriptor) -> bytes:
        """Content of a small blob; errors as of `download`."""
        return b"".join(self._blob_chunks(blob))

    def _blob_chunks(self, blob: Descriptor) -> Iterator[bytes]:
        answer = self._get_blob(blob.digest)
        if answer.status_code == 404:
            raise RegistryContentError(
                f"{self._reference.words} lists {blob.digest}, which the registry does not have.", "Publish it again."
            )
        hashed, chunks = hashlib.sha256(), _limited(answer.iter_content(_CHUNK_BYTES), blob.size, blob.digest)
        while chunk := self._next(chunks):
            hashed.update(chunk)
            yield chunk
        if f"sha256:{hashed.hexdigest()}" != blob.digest:
            raise RegistryContentError(f"The registry gives another content than {blob.digest}.", "Publish it again.")

    def _next(self, chunks: Iterator[bytes]) -> bytes:
        with self._failures_named():  # not around the caller's writing, whose errors are those of the disk
            return next(chunks, b"")

    def _get_blob(self, digest: str) -> Any:
        with self._failures_named():
            return self._opened().get_blob(self._container, digest, stream=True)

    def _manifest_url(self, name: str) -> str:
        return f"{self._opened().prefix}://{self._container.manifest_url(name)}"

    def _manifest_request(self, method: str, name: str) -> Any:
        return self._request(self._manifest_url(name), method, headers={"Accept": MANIFEST_TYPE}, stream=True)

    def _request(self, url: str, method: str, **arguments: Any) -> Any:
        with self._failures_named():
            return self._opened().do_request(url, method, **arguments)

    def _opened(self) -> Any:
        """The connection; made and, where the registry asks for it, logged in at the first use."""
        if self._registry is None:
            with self._failures_named():
                self._registry = self._logged_in()
        return self._registry

    def _logged_in(self) -> Any:
        registry = self._connection("token")
        prefix = f"{registry.prefix}://{self._reference.host}"
        challenge = registry.session.get(f"{prefix}/v2/").headers.get("Www-Authenticate", "")
        if challenge.lower().startswith("basic"):
            registry = self._connection("basic")
        registry.auth.load_configs(self._container)
        user, password = credential(REGISTRY_USER), credential(REGISTRY_PASSWORD)
        if user and password:
            registry.auth.set_basic_auth(user, password)
        once = type(registry).do_request.__wrapped__  # without ORAS's repetitions
        registry.do_request = partial(self._checked, registry, partial(once, registry))
        return registry

    def _connection(self, login: str) -> Any:
        registry = self._oras.Registry(self._reference.host, insecure=self._is_plain, auth_backend=login)
        host, answer_s = self._reference.host, self._answer_s
        guard_session(registry.session, host, is_plain=self._is_plain, answer_s=answer_s)
        return registry

    def _checked(self, registry: Any, once: Callable[..., Any], url: str, method: str = "GET", **arguments: Any) -> Any:
        """Make a request; every answer but success and "not found" is an error."""
        try:
            answer = once(url, method, **arguments)
            if answer.status_code == 401 and getattr(registry.auth, "token", None):
                registry.auth.token = None  # it was for reading only: ask for one for this request
                answer = once(url, method, **arguments)
        except (AttributeError, ValueError) as error:  # ORAS has no login, or its login was refused
            if isinstance(error, self._failures.RequestException):
                raise
            raise DeviceError(f"The registry {self._reference.host} asks for a login.", _LOGIN_HINT) from error
        if answer.status_code in (401, 403):
            raise DeviceError(
                f"The registry {self._reference.host} refuses the login for {self._reference.repository}.", _LOGIN_HINT
            )
        if answer.status_code >= 400 and answer.status_code != 404:
            raise DeviceError(f"The registry {self._reference.host} answers {_words(answer)}.", _AWAY_HINT)
        return answer

    @contextmanager
    def _failures_named(self) -> Iterator[None]:
        host, failures = self._reference.host, self._failures
        try:
            yield
        except failures.SSLError as error:
            hint = "Name its authority with REQUESTS_CA_BUNDLE; a registry without TLS needs --plain-http."
            raise DeviceError(f"The registry {host} has no certificate that is trusted here.", hint) from error
        except failures.InvalidSchema as error:
            message = f"The registry {host} sends its clients to an address without TLS, or to none of HTTP."
            raise DeviceError(message, "Do not use this registry, or use --plain-http.") from error
        except failures.RequestException as error:
            kind = "does not answer in time" if isinstance(error, failures.Timeout) else "does not answer"
            raise DeviceError(f"The registry {host} {kind}.", _AWAY_HINT) from error
        except ValueError as error:  # of ORAS, about an answer that is not of a registry
            raise DeviceError(f"{host} does not answer as a registry ({error}).", _AWAY_HINT) from error


def _limited(chunks: Iterator[bytes], most_bytes: int, name: str) -> Iterator[bytes]:
    """The chunks, refused as soon as they are more than they may be."""
    count = 0
    for chunk in chunks:
        count += len(chunk)
        if count > most_bytes:
            raise RegistryContentError(
                f"The registry gives more than the {most_bytes} bytes of {name}.", "Publish it again."
            )
        yield chunk


def _words(answer: Any) -> str:
    return f"{answer.status_code} {answer.reason}".strip()
