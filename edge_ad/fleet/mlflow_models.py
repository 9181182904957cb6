"""Bundles as versions of a model on an MLflow server, and aliases that name one of them."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ad.bundle import Bundle
from edge_ad.bundle.bundle import MANIFEST_FILE, check_replaceable
from edge_ad.errors import BundleError, UsageError
from edge_ad.fleet.artifact import bundle_manifest, digest_of, product_of, to_bytes
from edge_ad.fleet.mlflow_client import mlflow_client, mlflow_errors
from edge_ad.fleet.product import check_product
from edge_ad.fleet.pulling import Origin, Pulled, holds, write_origin
from edge_ad.storage import atomic_directory

__all__ = ["ModelReference", "Registered", "is_model", "name_version", "pull_model", "register"]

_SCHEME = "models:/"
_REFERENCE = re.compile(r"models:/{1,3}([^/@:]+)(?:@([^/@:]+)|/(\d+))")
_EXPERIMENT, _FOLDER, _DIGEST = "edge-ad bundles", "bundle", "edge_ad.digest"


def is_model(reference: str) -> bool:
    """Whether a reference is one of MLflow's, not of an OCI registry."""
    return reference.startswith(_SCHEME)


@dataclass(frozen=True)
class ModelReference:
    """A version of a model, by its number or by an alias.

    Attributes:
        model: Name.
        alias: Name of a version; empty where its number is given.
        version: Number; 0 where an alias is given.
    """

    model: str
    alias: str = ""
    version: int = 0

    @classmethod
    def parse(cls, text: str) -> ModelReference:
        """Parse ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``, as MLflow writes them.

        Raises:
            UsageError: It is neither.
        """
        found = _REFERENCE.fullmatch(text)
        if found is None:
            raise UsageError(f"{text} names no model.", "models:/NAME@ALIAS or models:/NAME/VERSION")
        return cls(found[1], found[2] or "", int(found[3] or 0))

    @property
    def words(self) -> str:
        """The reference as MLflow writes it."""
        return f"{_SCHEME}{self.model}@{self.alias}" if self.alias else f"{_SCHEME}{self.model}/{self.version}"


@dataclass(frozen=True)
class Registered:
    """What an alias names now.

    Attributes:
        reference: The alias.
        version: Number of the model's version.
        before: The version that it named before; 0 for none.
        is_new: Whether the version was made now.
    """

    reference: str
    version: int
    before: int
    is_new: bool


def register(bundle: Bundle, reference: ModelReference, address: str) -> Registered:
    """Make a bundle without its engines a version of a model, and let an alias name it.

    A bundle that is a version already is not sent again. The alias is set last: who follows it never sees a part.

    Args:
        bundle: What to register.
        reference: Model and alias.
        address: Of the MLflow server.

    Raises:
        UsageError: The reference has no alias.
        BundleError: The bundle is damaged.
        DeviceError: The server does not answer, or refuses.
    """
    _check_alias(reference)
    client = mlflow_client(address)
    with mlflow_errors(address), bundle.alone() as now:
        manifest = bundle_manifest(now)
        digest = digest_of(to_bytes(manifest))
        if not client.search_registered_models(f"name = '{reference.model}'"):
            client.create_registered_model(reference.model)
        version = _version_of(client, reference.model, digest)
        is_new = version is None
        if version is None:
            tags = {**manifest.annotations, _DIGEST: digest}
            version = _make_version(client, now, reference.model, tags)
        return _named(client, reference, version, is_new=is_new)


def name_version(version: ModelReference, reference: ModelReference, address: str) -> Registered:
    """Let an alias name a version that is there: the way back to an earlier one.

    Args:
        version: What to name, by number or by another alias.
        reference: The alias, of the same model.
        address: Of the MLflow server.

    Raises:
        UsageError: The reference has no alias, or is of another model.
        DeviceError: There is no such version, or the server does not answer.
    """
    _check_alias(reference)
    if version.model != reference.model:
        raise UsageError(f"{version.words} is no version of {reference.model}.", "Name one of the same model.")
    client = mlflow_client(address)
    with mlflow_errors(address):
        return _named(client, reference, int(_found(client, version).version), is_new=False)


def pull_model(
    reference: ModelReference,
    root: Path,
    address: str,
    *,
    any_product: bool = False,
    log: Callable[[str], None] = lambda text: None,
) -> Pulled:
    """Get a registered bundle into a folder, replacing a bundle that is there in one step.

    Args:
        reference: Which one.
        root: Folder of the bundle; one that holds it already is left as it is, with its engines.
        address: Of the MLflow server.
        any_product: Whether it may be of another product than a bundle that is there.
        log: Called with a line.

    Raises:
        BundleError: It is damaged, of another product, or no bundle; or ``root`` is something else.
        DeviceError: There is no such version, or the server does not answer.
        StorageError: No space or no permission; the old bundle is untouched.
    """
    check_replaceable(root)
    client = mlflow_client(address)
    with mlflow_errors(address):
        version = _found(client, reference)
    origin = Origin(reference=reference.words, digest=str(version.tags.get(_DIGEST, "")), is_signed=False)
    if holds(root, origin.digest):
        return Pulled(root, origin, 0, was_current=True)
    with atomic_directory(root) as staged:
        with tempfile.TemporaryDirectory(dir=staged) as folder:
            with mlflow_errors(address):
                got = Path(client.download_artifacts(version.run_id, _FOLDER, folder))
            log(f"version {version.version} of {reference.model}")
            _copy_files(Bundle.open(got), staged)
        manifest = bundle_manifest(Bundle.open(staged))
        if not any_product:
            check_product(root, product_of(manifest), reference.words)
        if digest_of(to_bytes(manifest)) != origin.digest:
            raise BundleError(f"{reference.words} is not the bundle that was registered.", "Publish it again.")
        write_origin(staged, origin)
    return Pulled(root, origin, sum(layer.size for layer in manifest.layers), was_current=False)


def _copy_files(bundle: Bundle, folder: Path) -> None:
    """Copy the files of a bundle that its manifest names, each compared with its SHA-256; engines are none of them."""
    for name in bundle.manifest.files:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(bundle.read_file(name))
    shutil.copyfile(bundle.root / MANIFEST_FILE, folder / MANIFEST_FILE)


def _check_alias(reference: ModelReference) -> None:
    if not reference.alias:
        raise UsageError("A bundle is registered under an alias.", f"Write {_SCHEME}{reference.model}@ALIAS.")


def _found(client: Any, reference: ModelReference) -> Any:
    if reference.alias:
        return client.get_model_version_by_alias(reference.model, reference.alias)
    return client.get_model_version(reference.model, str(reference.version))


def _version_of(client: Any, model: str, digest: str) -> int | None:
    """The newest version that has this content and is whole."""
    found = client.search_model_versions(f"name = '{model}'")
    same = [int(each.version) for each in found if each.tags.get(_DIGEST) == digest and each.status == "READY"]
    return max(same, default=None)


def _make_version(client: Any, bundle: Bundle, model: str, tags: dict[str, str]) -> int:
    experiment = client.get_experiment_by_name(_EXPERIMENT)
    number = client.create_experiment(_EXPERIMENT) if experiment is None else experiment.experiment_id
    run = client.create_run(number, tags=tags, run_name=model)
    with tempfile.TemporaryDirectory() as folder:
        _copy_files(bundle, Path(folder))
        client.log_artifacts(run.info.run_id, folder, _FOLDER)
    client.set_terminated(run.info.run_id)
    source = f"{run.info.artifact_uri}/{_FOLDER}"
    version = client.create_model_version(model, source, run_id=run.info.run_id, tags=tags, await_creation_for=60)
    return int(version.version)


def _named(client: Any, reference: ModelReference, version: int, *, is_new: bool) -> Registered:
    aliases = client.get_registered_model(reference.model).aliases
    before = int(aliases.get(reference.alias, 0))
    client.set_registered_model_alias(reference.model, reference.alias, str(version))
    return Registered(reference.words, version, before, is_new)
