"""Signatures of artifacts, in the format of cosign.

The payload is a JSON document that holds the digest of the artifact's manifest ("simple signing"). It lies in the same
repository, as a layer of an artifact with the tag ``sha256-<digest>.sig``; the signature is an annotation of the layer
(https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md). Keys are Ed25519, or ECDSA P-256 with SHA-256.

The signature is of one manifest, and so of every file of the bundle. It does not cover the tag: whoever may write to
the registry may let a tag name an older signed bundle.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_ad.bundle.documents import parse_json
from edge_ad.credentials import COSIGN_PASSWORD
from edge_ad.errors import BundleError, UsageError, require
from edge_ad.fleet.artifact import Descriptor, ImageManifest, parse_manifest, to_bytes
from edge_ad.fleet.cosign_keys import decrypt_cosign_key, is_cosign_key
from edge_ad.fleet.reference import ArtifactReference
from edge_ad.fleet.registry_client import RegistryClient

__all__ = [
    "PrivateKey",
    "PublicKey",
    "SignatureError",
    "check_signature",
    "fingerprint",
    "read_private_key",
    "read_public_key",
    "sign",
]

PrivateKey = Any
"""A private key of the package cryptography: Ed25519 or ECDSA P-256."""
PublicKey = Any

_PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_SIGNATURE = "dev.cosignproject.cosign/signature"
_KIND = "cosign container image signature"
_LARGEST_PAYLOAD_BYTES = 64 << 10
_MOST_SIGNATURES = 20
_KEY_HINT = (
    "Make a pair: openssl genpkey -algorithm ed25519 -out line.key; openssl pkey -in line.key -pubout -out line.pub"
)


class SignatureError(BundleError):
    """None of the trusted keys has signed a bundle; it may be signed later."""


def read_private_key(path: Path) -> PrivateKey:
    """Read a key to sign with: PEM (PKCS #8), not encrypted; or one of cosign, whose password is in COSIGN_PASSWORD.

    Raises:
        UsageError: It is none, or the password is missing or wrong.
        MissingDependencyError: cryptography is not installed; or, for a key of cosign, PyNaCl.
    """
    serialization = require("cryptography.hazmat.primitives.serialization", extra="fleet")

    def load(content: bytes) -> PrivateKey:
        if is_cosign_key(content):
            der = decrypt_cosign_key(content, os.environ.get(COSIGN_PASSWORD))
            return serialization.load_der_private_key(der, password=None)
        return serialization.load_pem_private_key(content, password=None)

    return _checked_kind(_loaded(path, "private", load), path)


def read_public_key(path: Path) -> PublicKey:
    """Read a key to trust: PEM (SubjectPublicKeyInfo).

    Raises:
        UsageError: It is none.
        MissingDependencyError: cryptography is not installed.
    """
    serialization = require("cryptography.hazmat.primitives.serialization", extra="fleet")
    return _checked_kind(_loaded(path, "public", serialization.load_pem_public_key), path)


def sign(client: RegistryClient, reference: ArtifactReference, digest: str, key: PrivateKey) -> None:
    """Store a signature of an artifact beside it; those by other keys stay.

    Args:
        client: Of its repository.
        reference: What it is called.
        digest: Of its manifest.
        key: What to sign with.

    Raises:
        DeviceError: The registry does not answer, or refuses.
        StorageError: No space for temporary files.
    """
    payload = _payload(reference, digest)
    layer = Descriptor.of(payload, _PAYLOAD_TYPE, {_SIGNATURE: base64.b64encode(_signed(key, payload)).decode()})
    present = _signature_layers(client, digest)
    if any(_is_valid(key.public_key(), other, client.blob(other), digest) for other in present):
        return
    layers = [*present, layer]
    # Tools for images read one diff id per layer from the configuration.
    rootfs = {"type": "layers", "diff_ids": [each.digest for each in layers]}
    config = json.dumps({"architecture": "", "config": {}, "os": "", "rootfs": rootfs}).encode()
    _upload(client, payload, layer)
    _upload(client, config, Descriptor.of(config, _CONFIG_TYPE))
    manifest = ImageManifest(config=Descriptor.of(config, _CONFIG_TYPE), layers=layers)
    client.put_manifest(_tag(digest), to_bytes(manifest))


def check_signature(client: RegistryClient, digest: str, trusted: Sequence[PublicKey]) -> str:
    """Refuse an artifact that none of the trusted keys has signed.

    Returns:
        `fingerprint` of the key that has.

    Raises:
        SignatureError: It is not signed, or by other keys only.
        DeviceError: The registry does not answer.
    """
    layers = _signature_layers(client, digest)
    if not layers:
        raise SignatureError(f"{digest} is not signed.", "Publish it with --sign KEY, where you trust it.")
    for layer in layers:
        payload = client.blob(layer)
        for key in trusted:
            if _is_valid(key, layer, payload, digest):
                return fingerprint(key)
    raise SignatureError(
        f"{digest} is not signed by a key that is trusted here.", "Do not use it, or trust its key too."
    )


def fingerprint(key: PublicKey) -> str:
    """``sha256:`` and the SHA-256 of a public key (SubjectPublicKeyInfo, DER)."""
    serialization = require("cryptography.hazmat.primitives.serialization", extra="fleet")
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def _signature_layers(client: RegistryClient, digest: str) -> list[Descriptor]:
    content = client.find_manifest(_tag(digest))
    layers = [] if content is None else parse_manifest(content, f"The signature of {digest}").layers
    found = [each for each in layers if each.media_type == _PAYLOAD_TYPE and each.size <= _LARGEST_PAYLOAD_BYTES]
    return found[:_MOST_SIGNATURES]


def _payload(reference: ArtifactReference, digest: str) -> bytes:
    identity = {"docker-reference": f"{reference.host}/{reference.repository}"}
    critical = {"identity": identity, "image": {"docker-manifest-digest": digest}, "type": _KIND}
    return json.dumps({"critical": critical, "optional": None}, separators=(",", ":")).encode()


def _is_valid(key: PublicKey, layer: Descriptor, payload: bytes, digest: str) -> bool:
    exceptions = require("cryptography.exceptions", extra="fleet")
    try:
        signature = base64.b64decode(layer.annotations.get(_SIGNATURE, ""), validate=True)
        key.verify(signature, payload, *_scheme(key))
        document = parse_json(payload)
    except (exceptions.InvalidSignature, binascii.Error, ValueError, RecursionError):
        return False
    critical = document.get("critical") if isinstance(document, dict) else None
    return isinstance(critical, dict) and critical.get("type") == _KIND and _digest_in(critical) == digest


def _digest_in(critical: dict[str, Any]) -> object:
    image = critical.get("image")
    return image.get("docker-manifest-digest") if isinstance(image, dict) else None


def _signed(key: PrivateKey, payload: bytes) -> bytes:
    return bytes(key.sign(payload, *_scheme(key)))


def _scheme(key: Any) -> tuple[Any, ...]:
    """What `sign` and `verify` of a key take beside the data: nothing for Ed25519, the hash for ECDSA."""
    ec = require("cryptography.hazmat.primitives.asymmetric.ec", extra="fleet")
    hashes = require("cryptography.hazmat.primitives.hashes", extra="fleet")
    is_ecdsa = isinstance(key, (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey))
    return (ec.ECDSA(hashes.SHA256()),) if is_ecdsa else ()


def _loaded(path: Path, kind: str, load: Any) -> Any:
    exceptions = require("cryptography.exceptions", extra="fleet")
    try:
        return load(path.read_bytes())
    except OSError as error:
        raise UsageError(f"The key {path} cannot be read: {error.strerror}.", _KEY_HINT) from error
    except (ValueError, TypeError, exceptions.UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} holds no {kind} key in PEM that is not encrypted.", _KEY_HINT) from error


def _checked_kind(key: Any, path: Path) -> Any:
    ec = require("cryptography.hazmat.primitives.asymmetric.ec", extra="fleet")
    ed25519 = require("cryptography.hazmat.primitives.asymmetric.ed25519", extra="fleet")
    is_ed25519 = isinstance(key, (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey))
    is_p256 = isinstance(key, (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)) and key.curve.name == "secp256r1"
    if not (is_ed25519 or is_p256):
        raise UsageError(f"{path} holds neither an Ed25519 nor an ECDSA P-256 key.", _KEY_HINT)
    return key


def _tag(digest: str) -> str:
    return f"{digest.replace(':', '-')}.sig"


def _upload(client: RegistryClient, content: bytes, blob: Descriptor) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "blob"
        path.write_bytes(content)
        client.upload(path, blob)
