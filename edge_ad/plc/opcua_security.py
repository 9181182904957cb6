"""Certificates of the OPC UA server, and who may connect."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_ad.errors import UsageError
from edge_ad.storage import storage_errors, write_file

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["CertificateFolder", "guarded_server", "make_user_manager"]

_DAYS = 3650  # a line is not to stop because a certificate has run out
_MOST_REJECTED = 20
_ENDINGS = frozenset({".der", ".pem", ".crt", ".cer"})


class CertificateFolder:
    """A folder with the server's own certificate and key, and the certificates of the clients it trusts.

    ``own.der`` and ``own.key`` are made when they are not there. ``trusted/`` is read at every connection, so that a
    certificate may be added or removed while the server runs. ``rejected/`` has the newest certificates that were
    refused: move one to ``trusted/`` to let that client in.

    Args:
        folder: The folder; made when it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate, self.key = folder / "own.der", folder / "own.key"
        self.trusted, self.rejected = folder / "trusted", folder / "rejected"

    async def prepare(self, application_uri: str, host: str) -> None:
        """Make the folders, and the certificate if there is none.

        Raises:
            StorageError: The folder cannot be written.
            UsageError: It has a certificate without a key, or a key without a certificate.
        """
        with storage_errors(self.folder):
            for folder in (self.folder, self.trusted, self.rejected):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.certificate.is_file() != self.key.is_file():
            missing = self.key if self.certificate.is_file() else self.certificate
            raise UsageError(f"There is no {missing.name} in {self.folder}.", "Put it back, or remove the other one.")
        if not self.certificate.is_file():
            self._make(application_uri, host)

    def trusts(self, der: bytes) -> bool:
        """Whether a client's certificate is in the folder and valid now; another one is kept in ``rejected/``.

        Args:
            der: The certificate.
        """
        with suppress(OSError):
            is_trusted = der != b"" and any(_der_of(path) == der for path in sorted(self.trusted.iterdir()))
            if is_trusted and _is_valid_now(der):
                return True
            if der and not is_trusted:
                self._reject(der)
        return False

    def _reject(self, der: bytes) -> None:
        path = self.rejected / f"{hashlib.sha1(der, usedforsecurity=False).hexdigest()}.der"
        path.write_bytes(der)
        newest_first = sorted(self.rejected.glob("*.der"), key=lambda kept: kept.stat().st_mtime, reverse=True)
        for old in newest_first[_MOST_REJECTED:]:
            old.unlink()

    def _make(self, application_uri: str, host: str) -> None:
        from asyncua.crypto import cert_gen
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding
        from cryptography.x509.oid import ExtendedKeyUsageOID

        key = cert_gen.generate_private_key()
        names = [x509.UniformResourceIdentifier(application_uri), x509.DNSName(host)]
        certificate = cert_gen.generate_self_signed_app_certificate(
            key, "edge-ad", {}, names, [ExtendedKeyUsageOID.SERVER_AUTH], _DAYS
        )
        self.key.touch(mode=0o600)
        write_file(self.key, cert_gen.dump_private_key_as_pem(key))
        self.key.chmod(0o600)
        write_file(self.certificate, certificate.public_bytes(Encoding.DER))


def _der_of(path: Path) -> bytes:
    """The certificate in a file as DER; empty where it has none."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    if path.suffix.lower() not in _ENDINGS:
        return b""
    with suppress(OSError, ValueError):  # one file that cannot be read shuts out nobody else
        content = path.read_bytes()
        is_text = content.lstrip().startswith(b"-----BEGIN")
        found = x509.load_pem_x509_certificate(content) if is_text else x509.load_der_x509_certificate(content)
        return bytes(found.public_bytes(Encoding.DER))
    return b""


def _is_valid_now(der: bytes) -> bool:
    from cryptography import x509

    found: Certificate = x509.load_der_x509_certificate(der)
    starts, ends = found.not_valid_before_utc, found.not_valid_after_utc
    return bool(starts <= datetime.now(timezone.utc) <= ends)


def make_user_manager(certificates: CertificateFolder, *, allows_anonymous: bool) -> Any:
    """Who may open a session, for asyncua.

    A client is known by the certificate with which its secure channel was signed, or by that of its user.

    Args:
        certificates: Whom to trust.
        allows_anonymous: Whether to let in everybody.
    """
    from asyncua.crypto.permission_rules import User, UserRole

    class UserManager:
        def get_user(
            self, iserver: Any, username: Any = None, password: Any = None, certificate: bytes | None = None
        ) -> User | None:
            is_known = certificate is not None and certificates.trusts(certificate)
            return User(role=UserRole.User) if is_known or allows_anonymous else None

    return UserManager()


def guarded_server(user_manager: Any, *, is_open: bool) -> Any:
    """An asyncua server that lets nobody do anything before the user manager has let him in.

    Args:
        user_manager: See `make_user_manager`.
        is_open: Whether to offer connections without encryption.
    """
    from asyncua import Server, ua
    from asyncua.crypto.permission_rules import SimpleRoleRuleset

    kinds = ua.SecurityPolicyType
    secure = [
        kinds.Basic256Sha256_SignAndEncrypt,
        kinds.Basic256Sha256_Sign,
        kinds.Aes128Sha256RsaOaep_SignAndEncrypt,
        kinds.Aes256Sha256RsaPss_SignAndEncrypt,
    ]
    server = Server(user_manager=user_manager)
    server.set_security_policy([kinds.NoSecurity, *secure] if is_open else secure, SimpleRoleRuleset())
    # Who the client is, the certificate of its channel says. A channel without security serves discovery even where it
    # is not offered: the certificate of a user would be taken there, too.
    server.set_identity_tokens([ua.AnonymousIdentityToken])
    return server
