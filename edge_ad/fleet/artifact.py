"""A bundle as an OCI artifact: a manifest that lists every file of the bundle by its SHA-256.

The format is the image manifest of the OCI image specification 1.1 with an empty configuration; the name of a file is
in ``org.opencontainers.image.title``, as the ORAS tools write and read it. The manifest of the artifact is made of the
bundle alone: the same bundle gives the same bytes, and so the same digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from edge_ad import __version__
from edge_ad.bundle import Bundle
from edge_ad.bundle.bundle import MANIFEST_FILE
from edge_ad.bundle.documents import check_name, parse_json
from edge_ad.errors import BundleError
from edge_ad.strict_json import to_json

__all__ = [
    "BUNDLE_TYPE",
    "EMPTY_CONFIG",
    "MANIFEST_TYPE",
    "TITLE",
    "Descriptor",
    "ImageManifest",
    "bundle_files",
    "bundle_manifest",
    "digest_of",
    "parse_manifest",
    "to_bytes",
]

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
BUNDLE_TYPE = "application/vnd.edge-ad.bundle.v1"
TITLE = "org.opencontainers.image.title"
EMPTY_CONFIG = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_FILE_TYPE = "application/octet-stream"
_PRODUCT = "edge-ad.product"
_CREATED = "org.opencontainers.image.created"
_LARGEST_FILE_BYTES = 16 << 30
_MOST_FILES = 1000


class Descriptor(BaseModel):
    """What a manifest says about a blob.

    Attributes:
        media_type: Its media type.
        digest: ``sha256:`` and its SHA-256.
        size: Its length in bytes.
        annotations: Name → text.
    """

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    media_type: str
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    size: int = Field(ge=0, le=_LARGEST_FILE_BYTES)
    annotations: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def of(cls, content: bytes, media_type: str, annotations: Mapping[str, str] | None = None) -> Descriptor:
        """The descriptor of a content."""
        return cls(
            media_type=media_type, digest=digest_of(content), size=len(content), annotations=dict(annotations or {})
        )


class ImageManifest(BaseModel):
    """An OCI image manifest.

    Attributes:
        artifact_type: What the artifact is; empty for an image.
        config: Descriptor of its configuration.
        layers: Descriptors of its files.
        annotations: Name → text.
    """

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    schema_version: int = Field(default=2, ge=2, le=2)
    media_type: str = MANIFEST_TYPE
    artifact_type: str = ""
    config: Descriptor
    layers: list[Descriptor] = Field(max_length=_MOST_FILES)
    annotations: dict[str, str] = Field(default_factory=dict)


def digest_of(content: bytes) -> str:
    """``sha256:`` and the SHA-256 of a content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def to_bytes(manifest: ImageManifest) -> bytes:
    """JSON of a manifest, without what is empty; the same manifest gives the same bytes."""
    return to_json(_without_empty(manifest.model_dump(by_alias=True))).encode()


def parse_manifest(content: bytes, where: str) -> ImageManifest:
    """Parse the manifest that a registry gave.

    Raises:
        BundleError: It is none.
    """
    try:
        return ImageManifest.model_validate(parse_json(content))
    except (ValueError, RecursionError) as error:
        why = f"{error.error_count()} fields are wrong" if isinstance(error, ValidationError) else str(error)
        raise BundleError(
            f"{where} is not an artifact of one manifest ({why}).", "Name one that edge-ad publish wrote."
        ) from error


def bundle_manifest(bundle: Bundle) -> ImageManifest:
    """The manifest of the artifact of a bundle; engines are left out, since each device builds its own.

    Raises:
        OSError: A file cannot be read.
    """
    content, files = (bundle.root / MANIFEST_FILE).read_bytes(), bundle.manifest.files
    layers = [Descriptor.of(content, _FILE_TYPE, {TITLE: MANIFEST_FILE})]
    layers += [
        Descriptor(
            media_type=_FILE_TYPE,
            digest=f"sha256:{files[name]}",
            size=(bundle.root / name).stat().st_size,
            annotations={TITLE: name},
        )
        for name in sorted(files)
    ]
    config = Descriptor.of(EMPTY_CONFIG, _EMPTY_TYPE)
    return ImageManifest(artifact_type=BUNDLE_TYPE, config=config, layers=layers, annotations=_annotations(bundle))


def bundle_files(manifest: ImageManifest, where: str) -> dict[str, Descriptor]:
    """File name → descriptor of each file of a published bundle.

    Raises:
        BundleError: The artifact is not a bundle, or names a file twice or one outside of the bundle.
    """
    if manifest.artifact_type != BUNDLE_TYPE:
        kind = manifest.artifact_type or manifest.config.media_type
        raise BundleError(f"{where} is not a bundle but {kind}.", "Name one that edge-ad publish wrote.")
    files: dict[str, Descriptor] = {}
    for layer in manifest.layers:
        name = check_name(layer.annotations.get(TITLE, ""), where=where)
        if name in files:
            raise BundleError(f"{where} names the file {name} twice.", "Do not use it: it is damaged.")
        files[name] = layer
    if MANIFEST_FILE not in files:
        raise BundleError(f"{where} has no {MANIFEST_FILE}.", "Publish it again: edge-ad publish")
    return files


def product_of(manifest: ImageManifest) -> str:
    """Name of the product of a published bundle; empty where it has none."""
    return manifest.annotations.get(_PRODUCT, "")


def _annotations(bundle: Bundle) -> dict[str, str]:
    manifest = bundle.manifest
    graphs = {f"edge-ad.graph.{name}": f"sha256:{bundle.graph_sha256(name)}" for name in manifest.graphs}
    own = {"edge-ad.method": manifest.method, _PRODUCT: manifest.product, "edge-ad.version": __version__}
    return {**own, **graphs, _CREATED: manifest.created}


def _without_empty(document: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in document.items() if value not in ("", {})}
    return {
        name: _without_empty(value)
        if isinstance(value, dict)
        else [_without_empty(each) for each in value]
        if isinstance(value, list)
        else value
        for name, value in kept.items()
    }
