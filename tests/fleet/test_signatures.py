"""Signed bundles: by whom, of what, and what is refused."""

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from edge_ad.bundle import Bundle
from edge_ad.cli import main
from edge_ad.errors import BundleError, UsageError
from edge_ad.fleet import ArtifactReference, publish, pull, read_private_key, read_public_key
from tests.fleet.registry_double import RegistryDouble


def make_pair(folder: Path, name: str, kind: str = "ed25519") -> tuple[Path, Path]:
    key = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    pem = serialization.Encoding.PEM
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_signed_bundle_is_pulled_and_an_unsigned_or_foreign_one_is_refused(
    host: str, bundle: Bundle, tmp_path: Path, kind: str
) -> None:
    (private, public), (foreign, _) = make_pair(tmp_path, "line", kind), make_pair(tmp_path, "foreign", kind)
    where, trusted = ArtifactReference.parse(f"{host}/line/screw:stable"), [read_public_key(public)]
    publish(bundle, where)
    with pytest.raises(BundleError, match="is not signed"):
        pull(where, tmp_path / "device", trusted=trusted)
    publish(bundle, where, key=read_private_key(foreign))
    with pytest.raises(BundleError, match="not signed by a key that is trusted"):
        pull(where, tmp_path / "device", trusted=trusted)
    publish(bundle, where, key=read_private_key(private))  # beside the foreign one
    assert pull(where, tmp_path / "device", trusted=trusted).origin.is_signed


def test_a_signature_of_another_bundle_does_not_count(registry: RegistryDouble, bundle: Bundle, tmp_path: Path) -> None:
    private, public = make_pair(tmp_path, "line")
    where = ArtifactReference.parse(f"{registry.host}/line/screw:stable")
    first = publish(bundle, where, key=read_private_key(private)).digest
    second = publish(bundle.with_files({"notes.txt": b"other"}), where).digest
    moved = registry.manifests["line/screw", f"{first.replace(':', '-')}.sig"]
    registry.manifests["line/screw", f"{second.replace(':', '-')}.sig"] = moved
    with pytest.raises(BundleError, match="not signed by a key"):
        pull(where, tmp_path / "device", trusted=[read_public_key(public)])


def test_the_signature_has_the_layout_that_cosign_specifies(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path
) -> None:
    private, public = make_pair(tmp_path, "line")
    where = ArtifactReference.parse(f"{registry.host}/line/screw:stable")
    digest = publish(bundle, where, key=read_private_key(private)).digest
    manifest = json.loads(registry.manifests["line/screw", f"{digest.replace(':', '-')}.sig"])
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
    payload = registry.blobs[layer["digest"]]
    critical = json.loads(payload)["critical"]
    assert critical["type"] == "cosign container image signature"
    assert critical["image"] == {"docker-manifest-digest": digest}
    signature = base64.b64decode(layer["annotations"]["dev.cosignproject.cosign/signature"])
    read_public_key(public).verify(signature, payload)  # raises where it does not hold


def write_cosign_key(
    path: Path, der: bytes, password: str, *, n: int = 65536, kind: str = "SIGSTORE", damage: int = 0
) -> Path:
    """A key as cosign writes it; its parameters are those of go-securesystemslib."""
    secret = pytest.importorskip("nacl.secret", reason="PyNaCl is not installed")
    salt, nonce = bytes(range(32)), bytes(range(24))
    key = Scrypt(salt=salt, length=32, n=min(n, 131072), r=8, p=1).derive(password.encode())
    box = bytearray(secret.SecretBox(key).encrypt(der, nonce).ciphertext)
    box[0] ^= damage
    document = {
        "kdf": {"name": "scrypt", "params": {"N": n, "r": 8, "p": 1}, "salt": base64.b64encode(salt).decode()},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(box).decode(),
    }
    name = f"ENCRYPTED {kind} PRIVATE KEY"
    body = base64.encodebytes(json.dumps(document).encode()).decode()
    path.write_text(f"-----BEGIN {name}-----\n{body}-----END {name}-----\n")
    return path


def to_der(key: ec.EllipticCurvePrivateKey) -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption())


@pytest.mark.parametrize(
    ("kind", "n", "password"), [("COSIGN", 32768, "secret"), ("SIGSTORE", 65536, ""), ("SIGSTORE", 131072, "schlüssel")]
)
def test_a_key_that_cosign_encrypted_signs_with_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, n: int, password: str
) -> None:
    made = ec.generate_private_key(ec.SECP256R1())
    path = write_cosign_key(tmp_path / "cosign.key", to_der(made), password, n=n, kind=kind)
    monkeypatch.delenv("COSIGN_PASSWORD", raising=False)
    with pytest.raises(UsageError, match="The key is encrypted"):
        read_private_key(path)
    monkeypatch.setenv("COSIGN_PASSWORD", "wrong")
    with pytest.raises(UsageError, match="does not open the key"):
        read_private_key(path)
    monkeypatch.setenv("COSIGN_PASSWORD", password)
    assert read_private_key(path).private_numbers() == made.private_numbers()


def test_a_key_of_cosign_that_is_damaged_or_costs_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSIGN_PASSWORD", "secret")
    der = to_der(ec.generate_private_key(ec.SECP256R1()))
    for path, match in (
        (write_cosign_key(tmp_path / "damaged.key", der, "secret", damage=1), "does not open"),
        (write_cosign_key(tmp_path / "costly.key", der, "secret", n=1 << 30), "not known here"),
        (write_cosign_key(tmp_path / "none.key", b"no key", "secret"), "holds no private key"),
    ):
        with pytest.raises(UsageError, match=match):
            read_private_key(path)


def test_keys_that_are_none_are_one_line(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.key"
    text.write_text("no key")
    assert main(["publish", str(bundle.root), "127.0.0.1:1/a:b", "--sign", str(text)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {text} holds no private key")
    _, public = make_pair(tmp_path, "line")
    with pytest.raises(UsageError, match="no private key"):
        read_private_key(public)
