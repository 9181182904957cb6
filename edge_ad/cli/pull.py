"""``edge-ad pull``: a bundle out of a registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_ad.cli.console import note, print_facts, print_json
from edge_ad.cli.options import JsonOption, PlainHttpOption, TrustOption

__all__ = ["pull"]


def pull(
    reference: Annotated[
        str, typer.Argument(metavar="REGISTRY/NAME:TAG", help="What to pull; @sha256:DIGEST instead of :TAG pins it.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the bundle; a bundle in it is replaced.")],
    trust: TrustOption = None,
    plain_http: PlainHttpOption = False,
    as_json: JsonOption = False,
) -> None:
    """Pull a bundle from an OCI registry: whole and checked, or not at all.

    Every file is compared with its SHA-256 before the folder is replaced in one step. Files that the old bundle has
    too are not downloaded.

    Raises:
        UsageError: There is no such tag or digest.
        BundleError: It is not signed as asked, or damaged.
        DeviceError: The registry does not answer, or refuses.
    """
    from edge_ad.fleet import ArtifactReference, read_public_key
    from edge_ad.fleet import pull as pull_bundle

    what = ArtifactReference.parse(reference)
    keys = [read_public_key(path) for path in trust or ()]
    pulled = pull_bundle(what, folder, trusted=keys, plain_http=plain_http, log=note)
    if as_json:
        print_json(pulled)
        return
    print_facts(
        {
            "bundle": pulled.root,
            "digest": pulled.origin.digest,
            "bytes received": pulled.received_bytes,
            "signature": "checked" if pulled.origin.is_signed else "not asked for",
            "changed": "no, it was there" if pulled.was_current else "yes",
        }
    )
