"""Methods by name: their parameters and their detectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor

from edge_ad.errors import UsageError
from edge_ad.models.base import AnomalyDetector, MethodParameters
from edge_ad.models.cutpaste import CutPaste, CutPasteParameters
from edge_ad.models.discriminators import (
    BoundaryShuffling,
    BoundaryShufflingParameters,
    Pbas,
    PbasParameters,
    SimpleNet,
    SimpleNetParameters,
)
from edge_ad.models.draem import Draem, DraemParameters
from edge_ad.models.ear import Ear, EarParameters
from edge_ad.models.fader import Fader, FaderParameters
from edge_ad.models.mask_sources.dino import load_dino
from edge_ad.models.patch_gaussian import PatchGaussian, PatchGaussianParameters
from edge_ad.models.patch_metric import PatchMetric, PatchMetricParameters
from edge_ad.models.patch_nearest import PatchNearest, PatchNearestParameters

__all__ = ["METHODS", "create_detector", "parse_parameters", "restore_detector"]


class _Method(NamedTuple):
    parameters: type[MethodParameters]
    detector: Callable[..., AnomalyDetector]


METHODS: dict[str, _Method] = {
    "fader": _Method(FaderParameters, Fader),
    "ear": _Method(EarParameters, Ear),
    "patch-gaussian": _Method(PatchGaussianParameters, PatchGaussian),
    "patch-nearest": _Method(PatchNearestParameters, PatchNearest),
    "patch-metric": _Method(PatchMetricParameters, PatchMetric),
    "simplenet": _Method(SimpleNetParameters, SimpleNet),
    "pbas": _Method(PbasParameters, Pbas),
    "boundary-shuffling": _Method(BoundaryShufflingParameters, BoundaryShuffling),
    "draem": _Method(DraemParameters, Draem),
    "cutpaste": _Method(CutPasteParameters, CutPaste),
}


def parse_parameters(method: str, values: Mapping[str, Any]) -> MethodParameters:
    """Check a method's parameters.

    Args:
        method: Name from ``METHODS``.
        values: Parameter → value; strings are converted.

    Raises:
        UsageError: Unknown method, unknown parameter or a value out of range.
    """
    if method not in METHODS:
        raise UsageError(f"There is no method {method!r}.", f"Choose one of: {', '.join(METHODS)}.")
    kind = METHODS[method].parameters
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            hint = f"{method} has: {', '.join(kind.model_fields)}."
        else:
            hint = f"It is {first['input']!r} here; docs/methods.md lists the parameters."
        raise UsageError(f"Parameter {name} of {method}: {first['msg']}.", hint) from error


def create_detector(method: str, values: Mapping[str, Any]) -> AnomalyDetector:
    """A new detector with pretrained frozen parts, ready to be trained.

    Its weights are drawn with the ``seed`` parameter.

    Raises:
        UsageError: As ``parse_parameters``, or the ViT cannot be loaded.
    """
    config = parse_parameters(method, values)
    vit: dict[str, Tensor] | None = None
    if isinstance(config, EarParameters) and config.mask_source == "dino":
        vit_config, vit = load_dino(config.dino_model)
        config = config.model_copy(update={"dino_config": vit_config})
    torch.manual_seed(config.seed)
    detector = METHODS[method].detector(config)
    if vit is not None:
        detector.get_submodule("mask_source.vit").load_state_dict(vit)
    return detector.eval()


def restore_detector(method: str, values: Mapping[str, Any], state: Mapping[str, Tensor]) -> AnomalyDetector:
    """A trained detector from its parameters and state.

    Raises:
        UsageError: Unknown method or parameters.
        RuntimeError: The state belongs to another architecture.
    """
    known = METHODS[method].parameters.absent if method in METHODS else {}
    detector = METHODS[method].detector(parse_parameters(method, {**known, **values}), pretrained=False)
    detector.load_state_dict(dict(state))
    return detector.eval()
