"""Other arithmetic in a run's detector: what is fitted on features is fitted on those of the backbone in that form."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad.calibration.calibration_set import HeldImages
from edge_ad.calibration.graph_runner import backbone_features
from edge_ad.calibration.layers import FloatModules, backbone_output
from edge_ad.calibration.quantiser import BackboneForm, Quantiser
from edge_ad.calibration.ranges import RangeChoice, backbone_rule, other_rule
from edge_ad.calibration.rescaling import scale_channels
from edge_ad.export.onnx_export import export_onnx
from edge_ad.training.preparation import refit
from edge_ad.training.runs import Run

__all__ = ["FeaturesOfGraph", "RefittingQuantiser"]

FeaturesOfGraph: TypeAlias = Callable[[ModelProto, str, NDArray[np.uint8]], NDArray[np.float32]]
"""A deploy graph, the name of its tensor with the features, and images → features, float32 (N, C, h, w)."""


class RefittingQuantiser:
    """Quantises the layers of a detector; each choice of backbone layers is fitted on once.

    Args:
        run: The run of the detector; it is left as it is.
        model: Its float deploy graph.
        layers: Names of the layers that may become INT8.
        held: Images.
        rule: How ranges follow from what was measured.
        log: Told about each fit.
        features: Runs the backbone; where it is given, a fit is made without any INT8 layer too.
    """

    def __init__(
        self,
        run: Run,
        model: ModelProto,
        layers: Sequence[str],
        held: HeldImages,
        rule: RangeChoice,
        log: Callable[[str], None],
        features: FeaturesOfGraph | None = None,
    ) -> None:
        self._modules = FloatModules.of(run.detector)
        self._features = features
        self._run, self._model, self._layers, self._held = run, model, layers, held
        self._rule, self._log = other_rule(rule), log
        self._backbone_rule = backbone_rule(rule)
        self._refitted: dict[tuple[str, ...], Quantiser] = {}

    @cached_property
    def plain(self) -> Quantiser:
        """Quantises the detector as it was trained."""
        model = scale_channels(self._model, self._form.scales)
        return Quantiser(model, self._layers, self._held.ranges, self._rule, backbone=self._form)

    @cached_property
    def _form(self) -> BackboneForm:
        layers = [layer for layer in self._layers if self._modules.is_backbone(layer)]
        return BackboneForm.measure(self._model, layers, self._held.ranges, self._backbone_rule)

    def quantise(self, layers: Collection[str]) -> ModelProto:
        """The graph with these layers in INT8."""
        backbone = tuple(layer for layer in self._layers if layer in layers and self._modules.is_backbone(layer))
        if not backbone and self._features is None:
            return self.plain.quantise(layers)
        if backbone not in self._refitted:
            self._refitted[backbone] = self._refit(backbone)
        return self._refitted[backbone].quantise(layers)

    def _refit(self, backbone: tuple[str, ...]) -> Quantiser:
        """Export the detector with everything that is fitted or trained on features, on those of the INT8 backbone."""
        self._log(f"Fitting on the features of the INT8 backbone ({len(backbone)} layers)." if backbone else "Fitting.")
        quantised, output = self.plain.quantise(backbone), backbone_output(self._model, self._modules)
        features = backbone_features if self._features is None else self._features
        detector = refit(
            self._run,
            self._held.fit,
            self._held.calibrate,
            lambda images: torch.from_numpy(features(quantised, output, images)),
        )
        model = scale_channels(export_onnx(detector), self._form.scales)
        # What follows the backbone sees the features of its INT8 form, which must be the form that was fitted on.
        measured = self._form.quantise(model, backbone, self._form.clips)
        return Quantiser(model, self._layers, self._held.ranges, self._rule, measured=measured, backbone=self._form)
