"""``edge-ad publish``: a bundle into a registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_ad.cli.console import note, print_facts, print_json
from edge_ad.cli.options import BundleArgument, JsonOption, MlflowOption, PlainHttpOption

__all__ = ["publish"]


def publish(
    bundle: BundleArgument,
    reference: Annotated[
        str, typer.Argument(metavar="REGISTRY/NAME:TAG", help="Where to publish it; models:/NAME@ALIAS of MLflow.")
    ],
    sign: Annotated[
        Path | None, typer.Option(metavar="KEY", help="Sign it with this private key (Ed25519 or ECDSA P-256, PEM).")
    ] = None,
    plain_http: PlainHttpOption = False,
    mlflow: MlflowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish a bundle to an OCI registry or an MLflow server, for devices to pull.

    Engines are left out: each device builds its own. What the registry has already is not sent again. The tag is set
    last. The login is that of docker login, or EDGE_AD_REGISTRY_USER and EDGE_AD_REGISTRY_PASSWORD.
    With models:/NAME/VERSION in the place of the bundle, the alias names that version again.

    Raises:
        UsageError: The reference or the key cannot be used.
        DeviceError: The registry does not answer, or refuses.
    """
    from edge_ad.bundle import Bundle
    from edge_ad.fleet.mlflow_models import is_model

    if is_model(reference):
        _register(bundle, reference, sign, mlflow, as_json=as_json)
        return
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


def _register(bundle: Path, reference: str, sign: Path | None, address: str | None, *, as_json: bool) -> None:
    from edge_ad.bundle import Bundle
    from edge_ad.errors import UsageError
    from edge_ad.fleet.mlflow_models import ModelReference, is_model, name_version, register

    if sign is not None:
        raise UsageError("Models of MLflow are not signed.", "Leave --sign out, or publish to an OCI registry.")
    if address is None:
        raise UsageError(f"Which server has {reference}?", "--mlflow http://HOST:5000, or MLFLOW_TRACKING_URI")
    where = ModelReference.parse(reference)
    if is_model(str(bundle)):
        named = name_version(ModelReference.parse(str(bundle)), where, address)
    else:
        named = register(Bundle.open(bundle), where, address)
    if as_json:
        print_json(named)
        return
    facts = {"published": named.reference, "version": named.version, "before": named.before or "none"}
    print_facts({**facts, "sent": "yes" if named.is_new else "no, it was there"})
