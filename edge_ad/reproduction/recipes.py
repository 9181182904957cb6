"""From a column's recipe to a request of the training, full or so small that it only shows that everything runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ad.models.mask_sources.parameters import PROMPTED_SOURCE
from edge_ad.models.published import PUBLISHED, TrainingSettings
from edge_ad.models.registry import method_class
from edge_ad.reproduction.tables import Recipe

__all__ = ["QUICK_SIZE", "Options", "key_of", "request_values"]

QUICK_SIZE = 64
"""Side of the input of a network that is only tried out, in pixels."""

_QUICK_BATCH = 4


@dataclass(frozen=True)
class Options:
    """What a user chose for a whole table.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        quick: Networks and trainings so small that they only show that everything runs.
        textures: Folder of photographs for methods that paint with them, DTD in the papers; None renders textures.
        choose: How FADeR's learning rate and schedule are found: ``held-out``, on good photos that were held out and
            pseudo-defects; ``preset``; or ``RATE:SCHEDULE``.
        weights: Folder with state dicts of backbones, ``<backbone>.pth``, for machines without a network.
        compiled: Compile the networks that are trained.
        workers: Processes that simulate defects.
    """

    device: str = "auto"
    quick: bool = False
    textures: Path | None = None
    choose: str = "held-out"
    weights: Path | None = None
    compiled: bool = False
    workers: int = 0


def key_of(recipe: Recipe, dataset: str, category: str, options: Options) -> str:
    """Name of the run of a recipe on a category, the same for the same training whatever table asks for it.

    A preset that says something else than it did gives another name: no run of before is taken for one of it.
    """
    kind = method_class(recipe.method)
    fields = kind.parameters_type.model_fields.keys()
    document = {
        **recipe.model_dump(mode="json"),
        "preset": _preset(recipe.method),
        "by_category": _by_category(recipe.method, category),
        "textures": options.textures is not None and bool(_TEXTURES & fields),
        "quantiser": "quantiser" in fields and _quantiser(options) is not None,
        "choose": options.choose if kind.continues else "",
        "quick": options.quick,
    }
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:8]
    return f"{dataset}/{category}/{recipe.method}-{digest}"


def request_values(recipe: Recipe, category: str, options: Options) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and settings of the training of a recipe, beside those of the preset ``published``.

    Args:
        recipe: What to train.
        category: The category.
        options: What a user chose for the table.
    """
    fields = method_class(recipe.method).parameters_type.model_fields
    named = _by_category(recipe.method, category)
    values = {**named, **recipe.values, "seed": recipe.seed}
    if options.textures is not None:
        values |= {name: str(options.textures) for name in _TEXTURES if name in fields}
    if "quantiser" in fields and (quantiser := _quantiser(options)) is not None:
        values["quantiser"] = str(quantiser)
    if options.weights is not None and "weights" in fields:
        values["weights"] = str(options.weights / f"{_backbone(recipe, values)}.pth")
    if values.get("mask_source") == PROMPTED_SOURCE:
        values["mask_part"] = category.replace("_", " ")  # what its prompts are about
    settings = {name: values.pop(name) for name in named.keys() & TrainingSettings.names()} | recipe.settings
    if options.quick:
        values |= {name: value for name, value in _QUICK.items() if name in fields}
        values |= method_class(recipe.method).parameters_type.smallest
        settings["batch_size"] = _QUICK_BATCH
    return values, settings


def _quantiser(options: Options) -> Path | None:
    """The authors' file of DSR's autoencoder, where the folder of weights has it."""
    path = None if options.weights is None or options.quick else options.weights / "dsr-quantiser.pth"
    return path if path is not None and path.is_file() else None


def _backbone(recipe: Recipe, values: Mapping[str, Any]) -> str:
    return str(values.get("backbone") or _preset(recipe.method).get("backbone") or "wide-resnet50")


def _preset(method: str) -> Mapping[str, Any]:
    return method_class(method).parameters_type.all_presets().get(PUBLISHED, {})


def _by_category(method: str, category: str) -> Mapping[str, Any]:
    """What the authors' code takes for a category by its name, beside the preset."""
    publication = method_class(method).parameters_type.publication
    return {} if publication is None else publication.by_category.get(category, {})


_TEXTURES = frozenset({"textures", "dsr_textures"})
_QUICK: Mapping[str, Any] = {
    "size": QUICK_SIZE,
    "weights": "random",
    "backbone": "resnet18",
    "embedding": 16,
    "hidden": 8,
    "epochs": 1,
    "form": "edge",
    "clusters": 4,
    "mosaic": 16,
    "fader_epochs": 1,
    "head_epochs": 1,
    "quantiser_epochs": 1,
    "upsampling_epochs": 1,
    "dsr_steps": 2,
    "flow_steps": 1,
    "ami_steps": 1,
    "ami_width": 64,
    "bank": 20,
}
