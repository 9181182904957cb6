"""Publishing a bundle to an OCI registry."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_ad.bundle import Bundle
from edge_ad.errors import UsageError
from edge_ad.fleet.artifact import EMPTY_CONFIG, TITLE, Descriptor, bundle_manifest, digest_of, to_bytes
from edge_ad.fleet.reference import ArtifactReference
from edge_ad.fleet.registry_client import RegistryClient
from edge_ad.fleet.signatures import PrivateKey, sign

__all__ = ["Published", "publish"]


@dataclass(frozen=True)
class Published:
    """What was published.

    Attributes:
        reference: Where.
        digest: Of the artifact's manifest; it names this content for ever.
        files: How many files it has.
        sent_bytes: What the registry did not have before.
        is_signed: Whether it was signed.
    """

    reference: str
    digest: str
    files: int
    sent_bytes: int
    is_signed: bool


def publish(
    bundle: Bundle,
    reference: ArtifactReference,
    *,
    key: PrivateKey | None = None,
    plain_http: bool = False,
    log: Callable[[str], None] = lambda text: None,
) -> Published:
    """Store a bundle without its engines in a registry, and let a tag name it.

    The tag is set last, after files and signature: whoever follows it never sees a part.

    Args:
        bundle: What to publish.
        reference: Registry, name and tag.
        key: What to sign with; None for no signature.
        plain_http: Speak HTTP without TLS.
        log: Called with a line for each file.

    Raises:
        UsageError: The reference has no tag.
        BundleError: The bundle is damaged.
        DeviceError: The registry does not answer, refuses, or asks for a login.
    """
    if reference.is_pinned:
        raise UsageError("A bundle is published under a tag.", f"Write {reference.host}/{reference.repository}:TAG.")
    with RegistryClient(reference, plain_http=plain_http) as client, bundle.alone() as now:
        manifest = bundle_manifest(now)
        sent = _upload_files(client, now.root, {each.annotations[TITLE]: each for each in manifest.layers}, log)
        _upload_config(client, manifest.config)
        content = to_bytes(manifest)
        digest = digest_of(content)
        if key is not None:
            sign(client, reference, digest, key)
        client.put_manifest(reference.name, content)
    return Published(reference.words, digest, len(manifest.layers), sent, key is not None)


def _upload_files(client: RegistryClient, root: Path, files: dict[str, Descriptor], log: Callable[[str], None]) -> int:
    sent = 0
    for name, blob in files.items():
        is_sent = client.upload(root / name, blob)
        sent += blob.size if is_sent else 0
        log(f"{name}: {blob.size} bytes {'sent' if is_sent else 'are there'}")
    return sent


def _upload_config(client: RegistryClient, blob: Descriptor) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config"
        path.write_bytes(EMPTY_CONFIG)
        client.upload(path, blob)
