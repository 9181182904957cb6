"""References to artifacts in an OCI registry: ``registry.plant:5000/line/screw:stable``."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from edge_ad.errors import UsageError
from edge_ad.outside_text import printable

__all__ = ["ArtifactReference", "is_digest"]

_SCHEME = "oci://"
# Names, tags and digests as the OCI distribution specification 1.1 defines them; SHA-256 is the one to be known.
_HOST = r"(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9-]+(?=:)|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}"
_REFERENCE = re.compile(
    rf"(?P<host>{_HOST})/(?P<repository>{_PART}(?:/{_PART})*)(?::(?P<tag>{_TAG})|@(?P<digest>{_DIGEST}))"
)
_LOOPBACK = re.compile(r"(?:localhost|127\.[0-9.]+|\[::1\])(?::[0-9]+)?")


@dataclass(frozen=True)
class ArtifactReference:
    """An artifact in a registry, by tag or by digest.

    Attributes:
        host: Name of the registry, with its port if it has one.
        repository: Name of the repository in it, such as ``"line/screw"``.
        name: Tag, or digest ``sha256:…``.
    """

    host: str
    repository: str
    name: str

    @classmethod
    def parse(cls, text: str) -> ArtifactReference:
        """Parse ``REGISTRY/NAME:TAG`` or ``REGISTRY/NAME@sha256:…``; ``oci://`` may stand before it.

        Raises:
            UsageError: It is neither.
        """
        match = _REFERENCE.fullmatch(text.removeprefix(_SCHEME))
        if match is None:
            raise UsageError(
                f"{printable(text)!r} is no reference to a registry.",
                "Write REGISTRY/NAME:TAG, such as registry.plant:5000/line/screw:stable, or REGISTRY/NAME@sha256:…",
            )
        return cls(match["host"], match["repository"], match["tag"] or match["digest"])

    @property
    def is_pinned(self) -> bool:
        """Whether it names a digest, whose content can never change."""
        return is_digest(self.name)

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is on this machine."""
        return _LOOPBACK.fullmatch(self.host) is not None

    @property
    def words(self) -> str:
        """The reference as it is written."""
        return f"{self.host}/{self.repository}{'@' if self.is_pinned else ':'}{self.name}"

    def named(self, name: str) -> ArtifactReference:
        """The artifact of another tag or digest in the same repository."""
        return replace(self, name=name)


def is_digest(text: str) -> bool:
    """Whether it is ``sha256:`` and 64 lower-case hex digits."""
    return re.fullmatch(_DIGEST, text) is not None
