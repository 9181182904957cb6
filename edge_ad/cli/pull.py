"""``edge-ad pull``: a bundle out of a registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_ad.cli.console import note, print_facts, print_json
from edge_ad.cli.options import AnyProductOption, JsonOption, MlflowOption, PlainHttpOption, TrustOption

if TYPE_CHECKING:
    from edge_ad.fleet import Pulled

__all__ = ["pull"]


def pull(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="REGISTRY/NAME:TAG", help="What to pull; @sha256:DIGEST pins it. Or models:/NAME@ALIAS."
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the bundle; a bundle in it is replaced.")],
    trust: TrustOption = None,
    plain_http: PlainHttpOption = False,
    any_product: AnyProductOption = False,
    mlflow: MlflowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pull a bundle from an OCI registry or an MLflow server: whole and checked, or not at all.

    Every file is compared with its SHA-256 before the folder is replaced in one step. Files that the old bundle has
    too are not downloaded.

    Raises:
        UsageError: There is no such tag or digest.
        BundleError: It is not signed as asked, damaged, or of another product than the bundle in the folder.
        DeviceError: The registry does not answer, or refuses.
    """
    from edge_ad.fleet import ArtifactReference, read_public_key
    from edge_ad.fleet import pull as pull_bundle
    from edge_ad.fleet.mlflow_models import is_model

    if is_model(reference):
        pulled = _pulled_model(reference, folder, mlflow, is_trusting=trust is not None, any_product=any_product)
    else:
        keys = [read_public_key(path) for path in trust or ()]
        tag = ArtifactReference.parse(reference)
        pulled = pull_bundle(tag, folder, trusted=keys, plain_http=plain_http, any_product=any_product, log=note)
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


def _pulled_model(reference: str, folder: Path, address: str | None, *, is_trusting: bool, any_product: bool) -> Pulled:
    from edge_ad.errors import UsageError
    from edge_ad.fleet.mlflow_models import ModelReference, pull_model

    if is_trusting:
        raise UsageError("Models of MLflow are not signed.", "Leave --trust out, or pull from an OCI registry.")
    if address is None:
        raise UsageError(f"Which server has {reference}?", "--mlflow http://HOST:5000, or MLFLOW_TRACKING_URI")
    return pull_model(ModelReference.parse(reference), folder, address, any_product=any_product, log=note)
