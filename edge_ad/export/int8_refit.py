"""Other arithmetic in a run's detector: what is fitted on features is fitted on those of the backbone in that form."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad.calibration.backbone_form import BackboneForm
from edge_ad.calibration.equalisation import scale_channels
from edge_ad.calibration.layers import is_backbone
from edge_ad.calibration.quantiser import Quantiser
from edge_ad.calibration.range_rules import RangeChoice, backbone_rule, other_rule
from edge_ad.calibration.subgraph import backbone_features, backbone_output
from edge_ad.data.splits import GoodSplit
from edge_ad.export.onnx_export import export_onnx
from edge_ad.images import read_resized
from edge_ad.training.preparation import refit
from edge_ad.training.runs import Run

__all__ = ["FeaturesOfGraph", "HeldImages", "RefittingQuantiser"]

Images = NDArray[np.uint8]

FeaturesOfGraph: TypeAlias = Callable[[ModelProto, str, Images], NDArray[np.float32]]
"""A deploy graph, the name of its tensor with the features, and images → features, float32 (N, C, h, w)."""


@dataclass(frozen=True)
class HeldImages:
    """Images of a run, uint8 (N, H, W, 3) each.

    Attributes:
        fit: What the detector was fitted on.
        calibrate: The split's part for calibration.
        threshold: The split's part for the threshold.
        ranges: What ranges are measured on.
    """

    fit: Images
    calibrate: Images
    threshold: Images
    ranges: Images

    @classmethod
    def read(cls, split: GoodSplit, ranges: Sequence[Path], size_hw: tuple[int, int]) -> HeldImages:
        """Read the images of a split, and those that ranges are measured on.

        Raises:
            DataError: One of them cannot be read.
        """
        parts = (split.fit, split.calibrate, split.threshold, ranges)
        return cls(*(read_resized(part, size_hw, split.photos) for part in parts))

    @property
    def held_out(self) -> Images:
        """What the gate compares on."""
        return np.concatenate([self.calibrate, self.threshold])


class RefittingQuantiser:
    """Quantises the layers of a detector; each choice of backbone layers is fitted on once.

    Args:
        run: The run of the detector; it is left as it is.
        model: Its float deploy graph.
        layers: Names of the layers that may become INT8.
        held: Images.
        rule: How ranges follow from what was measured.
        say: Told about each fit.
        features: Runs the backbone; what is not the plain one calls for a fit without any INT8 layer too.
    """

    def __init__(
        self,
        run: Run,
        model: ModelProto,
        layers: Sequence[str],
        held: HeldImages,
        rule: RangeChoice,
        say: Callable[[str], None],
        features: FeaturesOfGraph = backbone_features,
    ) -> None:
        self._features = features
        self._run, self._model, self._layers, self._held = run, model, layers, held
        self._rule, self._say = other_rule(rule), say
        self._backbone_rule = backbone_rule(rule)
        self._refitted: dict[tuple[str, ...], Quantiser] = {}

    @cached_property
    def plain(self) -> Quantiser:
        """Quantises the detector as it was trained."""
        model = scale_channels(self._model, self._form.scales)
        return Quantiser(model, self._layers, self._held.ranges, self._rule, backbone=self._form)

    @cached_property
    def _form(self) -> BackboneForm:
        layers = [layer for layer in self._layers if is_backbone(layer)]
        return BackboneForm.measure(self._model, layers, self._held.ranges, self._backbone_rule)

    def quantise(self, layers: Collection[str]) -> ModelProto:
        """The graph with these layers in INT8."""
        backbone = tuple(layer for layer in self._layers if layer in layers and is_backbone(layer))
        if not backbone and self._features is backbone_features:
            return self.plain.quantise(layers)
        if backbone not in self._refitted:
            self._refitted[backbone] = self._refit(backbone)
        return self._refitted[backbone].quantise(layers)

    def _refit(self, backbone: tuple[str, ...]) -> Quantiser:
        """Export the detector with everything that is fitted or trained on features, on those of the INT8 backbone."""
        self._say(f"Fitting on the features of the INT8 backbone ({len(backbone)} layers)." if backbone else "Fitting.")
        quantised, output = self.plain.quantise(backbone), backbone_output(self._model)
        detector = refit(
            self._run,
            self._held.fit,
            self._held.calibrate,
            lambda images: torch.from_numpy(self._features(quantised, output, images)),
        )
        model = scale_channels(export_onnx(detector), self._form.scales)
        # What follows the backbone sees the features of its INT8 form, which must be the form that was fitted on.
        measured = self._form.quantise(model, backbone, self._form.clips)
        return Quantiser(model, self._layers, self._held.ranges, self._rule, measured=measured, backbone=self._form)
