"""Private keys as ``cosign generate-key-pair`` writes them: encrypted with a password.

A PEM block whose content is a JSON document: the key in PKCS #8 (DER), in a "secret box" of NaCl, under a key that
scrypt derives from the password (https://github.com/sigstore/cosign/blob/main/pkg/cosign/keys.go,
https://github.com/secure-systems-lab/go-securesystemslib/tree/main/encrypted).
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from edge_ad.bundle.documents import parse_json
from edge_ad.errors import UsageError, require

__all__ = ["decrypt_cosign_key", "is_cosign_key"]

_BLOCK = re.compile(
    rb"-----BEGIN (ENCRYPTED (?:COSIGN|SIGSTORE) PRIVATE KEY)-----\s+([A-Za-z0-9+/=\s]+)-----END \1-----"
)
_HINT = "The password is taken from COSIGN_PASSWORD; it may be empty."
_BOX_KEY_BYTES = 32
_SPARE_BYTES = 1 << 20


class _Cost(BaseModel):
    n: Literal[32768, 65536, 131072] = Field(alias="N")  # others could take all memory
    r: Literal[8]
    p: Literal[1]


class _Derivation(BaseModel):
    name: Literal["scrypt"]
    params: _Cost
    salt: str


class _Cipher(BaseModel):
    name: Literal["nacl/secretbox"]
    nonce: str


class _Encrypted(BaseModel):
    kdf: _Derivation
    cipher: _Cipher
    ciphertext: str


def is_cosign_key(content: bytes) -> bool:
    """Whether a file holds an encrypted private key of cosign."""
    return _BLOCK.search(content) is not None


def decrypt_cosign_key(content: bytes, password: str | None) -> bytes:
    """The key in PKCS #8 (DER).

    Args:
        content: Of the file.
        password: What it is encrypted with; None where none is given, which is not an empty one.

    Raises:
        UsageError: The password is missing or wrong, or the content is damaged.
        MissingDependencyError: PyNaCl is not installed.
    """
    if password is None:
        raise UsageError("The key is encrypted.", _HINT)
    secret, exceptions = require("nacl.secret", extra="cosign"), require("nacl.exceptions", extra="cosign")
    found = _BLOCK.search(content)
    try:
        document = _Encrypted.model_validate(parse_json(base64.b64decode(found[2] if found else b"")))
        salt, nonce, box = map(base64.b64decode, (document.kdf.salt, document.cipher.nonce, document.ciphertext))
        key = _derived(password, salt, document.kdf.params)
        return bytes(secret.SecretBox(key).decrypt(box, nonce))
    except exceptions.CryptoError as error:
        raise UsageError("The password does not open the key.", _HINT) from error
    except (ValidationError, ValueError) as error:
        raise UsageError(
            "The key is damaged, or encrypted in a way that is not known here.", "Export it again."
        ) from error


def _derived(password: str, salt: bytes, cost: _Cost) -> bytes:
    memory = 128 * cost.n * cost.r + _SPARE_BYTES
    derived = hashlib.scrypt(
        password.encode(errors="surrogateescape"),
        salt=salt,
        n=cost.n,
        r=cost.r,
        p=cost.p,
        maxmem=memory,
        dklen=_BOX_KEY_BYTES,
    )
    return bytes(derived)
