"""Pulling a bundle from an OCI registry into a folder, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge_ad.bundle import Bundle
from edge_ad.bundle.bundle import MANIFEST_FILE, check_replaceable
from edge_ad.bundle.documents import parse_document, to_bytes
from edge_ad.document import Document
from edge_ad.errors import BundleError, StorageError, UsageError
from edge_ad.fleet.artifact import Descriptor, bundle_files, parse_manifest, product_of
from edge_ad.fleet.product import check_product
from edge_ad.fleet.reference import ArtifactReference
from edge_ad.fleet.registry_client import RegistryClient
from edge_ad.fleet.signatures import PublicKey, check_signature, fingerprint
from edge_ad.storage import atomic_directory, one_at_a_time, sha256_file, write_file

__all__ = [
    "ORIGIN_FILE",
    "Origin",
    "Pulled",
    "checked_origin",
    "fill_folder",
    "holds",
    "is_vouched_for",
    "pull",
    "read_origin",
    "write_origin",
]

ORIGIN_FILE = "origin.json"
"""Beside the files that the manifest of a bundle lists, as engines are: where a pulled bundle came from."""
_ORIGIN_VERSION = 1
_SPARE_BYTES = 1 << 20


class Origin(Document):
    """Contents of ``origin.json``.

    Attributes:
        schema_version: Version of this schema; a newer one is refused.
        reference: What was asked for.
        digest: Of the artifact's manifest.
        is_signed: Whether a trusted key had signed it.
        signed_by: Fingerprint of that key; empty for none.
    """

    schema_version: int = _ORIGIN_VERSION
    reference: str
    digest: str
    is_signed: bool
    signed_by: str = ""


@dataclass(frozen=True)
class Pulled:
    """What was pulled.

    Attributes:
        root: Folder of the bundle.
        origin: Where it came from.
        received_bytes: What came over the network; files that were there already did not.
        was_current: Whether the folder held this bundle before, and was left as it is.
    """

    root: Path
    origin: Origin
    received_bytes: int
    was_current: bool


def pull(
    reference: ArtifactReference,
    root: Path,
    *,
    trusted: Sequence[PublicKey] = (),
    plain_http: bool = False,
    any_product: bool = False,
    log: Callable[[str], None] = lambda text: None,
) -> Pulled:
    """Pull a bundle into a folder, replacing a bundle that is there in one step.

    A folder that holds the bundle of this digest, unchanged, is left as it is, with the engines that were built in it.

    Args:
        reference: Registry, name, and tag or digest.
        root: Folder of the bundle.
        trusted: Keys of which one must have signed it; none asks for no signature.
        plain_http: Speak HTTP without TLS.
        any_product: Whether it may be of another product than a bundle that is there.
        log: Called with a line for each file.

    Raises:
        UsageError: There is no such artifact.
        BundleError: It is not signed as asked, damaged, of another product or none; or ``root`` is something else.
        DeviceError: The registry does not answer, refuses, or asks for a login.
        StorageError: No space or no permission; the old bundle is untouched.
    """
    check_replaceable(root)
    with RegistryClient(reference, plain_http=plain_http) as client:
        digest = reference.name if reference.is_pinned else client.digest(reference.name)
        origin = checked_origin(client, reference, digest, trusted)
        if holds(root, digest):
            if not is_vouched_for(root, trusted):
                write_origin(root, origin)
            return Pulled(root, origin, 0, was_current=True)
        with one_at_a_time(_existing_parent(root)), atomic_directory(root) as staged:
            received = fill_folder(client, origin, staged, known=root, any_product=any_product, log=log)
    return Pulled(root, origin, received, was_current=False)


def fill_folder(
    client: RegistryClient,
    origin: Origin,
    folder: Path,
    *,
    known: Path | None = None,
    any_product: bool = False,
    log: Callable[[str], None] = lambda text: None,
) -> int:
    """Fill an empty folder with a published bundle, and check it as when it is opened.

    Args:
        client: Of the repository.
        origin: Which bundle; written beside it.
        folder: What to fill.
        known: The bundle whose place it takes; its files are taken instead of downloading what they hold.
        any_product: Whether it may be of another product than that one.
        log: Called with a line for each file.

    Returns:
        Bytes that came over the network.

    Raises:
        OtherProductError: Of another product; nothing was downloaded.
        BundleError: Damaged, or no bundle.
        DeviceError: The registry does not answer.
        StorageError: Too little space.
        OSError: A file cannot be written.
    """
    manifest = parse_manifest(client.manifest(origin.digest), origin.reference)
    files = bundle_files(manifest, origin.reference)
    if known is not None and not any_product:
        check_product(known, product_of(manifest), origin.reference)
    _check_space(folder, sum(blob.size for blob in files.values()))
    received = 0
    for name, blob in files.items():
        if known is not None and _took(known / name, blob, folder / name):
            log(f"{name}: {blob.size} bytes are there")
            continue
        client.download(blob, folder / name)
        received += blob.size
        log(f"{name}: {blob.size} bytes received")
    bundle = Bundle.open(folder)
    _check_complete(bundle, files, origin.reference)
    if bundle.manifest.product != product_of(manifest):
        raise BundleError(
            f"{origin.reference} does not say of which product it is.", "Publish it again: edge-ad publish"
        )
    write_origin(folder, origin)
    return received


def checked_origin(
    client: RegistryClient, reference: ArtifactReference, digest: str, trusted: Sequence[PublicKey]
) -> Origin:
    """Where a bundle comes from, after its signature was checked.

    Raises:
        BundleError: None of the trusted keys has signed it.
        DeviceError: The registry does not answer.
    """
    signer = check_signature(client, digest, trusted) if trusted else ""
    return Origin(reference=reference.words, digest=digest, is_signed=bool(signer), signed_by=signer)


def holds(root: Path, digest: str) -> bool:
    """Whether a folder holds the bundle of this digest, unchanged."""
    origin = read_origin(root)
    if origin is None or origin.digest != digest:
        return False
    try:
        Bundle.open(root)
    except (BundleError, UsageError):
        return False  # damaged: pull it again
    return True


def is_vouched_for(root: Path, trusted: Sequence[PublicKey]) -> bool:
    """Whether one of the keys had signed the bundle in a folder when that was checked; true where there are no keys."""
    origin = read_origin(root)
    return not trusted or (origin is not None and origin.signed_by in {fingerprint(key) for key in trusted})


def write_origin(root: Path, origin: Origin) -> None:
    """Write beside the files of a bundle where it came from.

    Raises:
        StorageError: No space or no permission.
    """
    write_file(root / ORIGIN_FILE, to_bytes(origin))


def read_origin(root: Path) -> Origin | None:
    """Where the bundle in a folder came from; None where it was not pulled, or that cannot be read."""
    with suppress(OSError, BundleError):
        path = root / ORIGIN_FILE
        return parse_document(path.read_bytes(), path, Origin, supported_version=_ORIGIN_VERSION, hint="")
    return None


def _took(known: Path, blob: Descriptor, path: Path) -> bool:
    """Whether a file that is there has this content, and is now at ``path`` too."""
    try:
        if known.is_symlink() or known.stat().st_size != blob.size or f"sha256:{sha256_file(known)}" != blob.digest:
            return False
    except OSError:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(known, path)  # files of a bundle are replaced, never written into
    except OSError:
        shutil.copyfile(known, path)
    return True


def _check_space(folder: Path, needed_bytes: int) -> None:
    if shutil.disk_usage(folder).free < needed_bytes + _SPARE_BYTES:
        raise StorageError(
            f"{folder.parent} has too little space for {needed_bytes} bytes.", "Free some space, and try again."
        )


def _check_complete(bundle: Bundle, files: dict[str, Descriptor], where: str) -> None:
    extra = sorted(files.keys() - bundle.manifest.files.keys() - {MANIFEST_FILE})
    if extra:
        raise BundleError(f"{where} holds {extra[0]}, which its {MANIFEST_FILE} does not list.", "Do not use it.")


def _existing_parent(root: Path) -> Path:
    return next(folder for folder in root.resolve().parents if folder.is_dir())
