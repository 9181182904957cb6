"""``edge-ad publish``: a bundle into a registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_ad.cli.console import note, print_facts, print_json
from edge_ad.cli.options import BundleArgument, JsonOption, PlainHttpOption

__all__ = ["publish"]


def publish(
    bundle: BundleArgument,
    reference: Annotated[str, typer.Argument(metavar="REGISTRY/NAME:TAG", help="Where to publish it.")],
    sign: Annotated[
        Path | None, typer.Option(metavar="KEY", help="Sign it with this private key (Ed25519 or ECDSA P-256, PEM).")
    ] = None,
    plain_http: PlainHttpOption = False,
    as_json: JsonOption = False,
) -> None:
    """Publish a bundle to an OCI registry, for devices to pull.

    Engines are left out: each device builds its own. What the registry has already is not sent again. The tag is set
    last. The login is that of docker login, or EDGE_AD_REGISTRY_USER and EDGE_AD_REGISTRY_PASSWORD.

    Raises:
        UsageError: The reference or the key cannot be used.
        DeviceError: The registry does not answer, or refuses.
    """
    from edge_ad.bundle import Bundle
    from edge_ad.fleet import ArtifactReference, read_private_key
    from edge_ad.fleet import publish as publish_bundle

    where = ArtifactReference.parse(reference)
    key = None if sign is None else read_private_key(sign)
    published = publish_bundle(Bundle.open(bundle), where, key=key, plain_http=plain_http, log=note)
    if as_json:
        print_json(published)
        return
    print_facts(
        {
            "published": published.reference,
            "digest": published.digest,
            "files": published.files,
            "bytes sent": published.sent_bytes,
            "signed": "yes" if published.is_signed else "no",
        }
    )
