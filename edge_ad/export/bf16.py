"""The bfloat16 recipes: a graph of the bundle, with what is float in it in bfloat16.

bfloat16 keeps float32's range and 8 of its 24 bits. Processors that multiply it (AMX, AVX512-BF16) are much faster in
it, and OpenVINO would take it unasked; here it is a precision like the others. What is sensitive stays in float32, what
is fitted on features is fitted on those of the backbone as it is then, and the accuracy gate decides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad.bundle import Bundle
from edge_ad.calibration.gate import describe_checks, failed_checks
from edge_ad.calibration.graph_runner import bf16_features
from edge_ad.calibration.layers import float32_parts, int8_candidates
from edge_ad.calibration.ranges import RangeChoice
from edge_ad.calibration.rounding import round_to_bf16, with_constants
from edge_ad.errors import DeviceError, QualityGateError
from edge_ad.export.passes import fill_channels, positions_as_groups
from edge_ad.export.recipes import Calibration, Made, Recipe, RecipeOptions, read_report
from edge_ad.export.refit import RefittingQuantiser
from edge_ad.manifest import BF16_OF, Precision
from edge_ad.runtime.backend import get_backend

__all__ = ["Bf16Recipe"]

_BACKEND = "openvino"  # which has a bfloat16 mode
_ROUNDING_IMAGES = 8  # what the weights of a convolution see hardly differs between photos
_ENOUGH_INT8 = 0.9  # bfloat16 for the rest gains nothing, and the search for what it may compute takes a minute


class Bf16Recipe(Recipe):
    """Gates a graph in bfloat16, first with as little as possible in float32, then with more.

    Args:
        base: Precision of the graph that is run in bfloat16.
    """

    version = (
        "start in float32, weights by error feedback, fitted again, transposed late, whole blocks, positions as groups"
    )

    def __init__(self, base: Precision) -> None:
        self.base = base
        self.precision = BF16_OF[base]

    def backend(self, options: RecipeOptions) -> str:
        """The one that has a bfloat16 mode."""
        return _BACKEND

    def check(self) -> None:
        """Refuse a processor without bfloat16; see `Recipe.check`."""
        if problem := get_backend(_BACKEND).precision_problem(self.precision):
            raise DeviceError(f"{self.precision} cannot be gated here: {problem}.", f"Use --precision {self.base}.")

    def why_not_worth(self, bundle: Bundle) -> str:
        """Nearly all is INT8 already; see `Recipe.why_not_worth`."""
        share = float(read_report(bundle, self.base).get("macs", {}).get("int8_share", 0.0))
        return f"{share:.1%} of the convolutions' arithmetic is INT8 already" if share > _ENOUGH_INT8 else ""

    def make(self, calibration: Calibration) -> Made:
        """Make it of the first choice of parts that passes; see `Recipe.make`."""
        gate, named = calibration.gate(_BACKEND), calibration.model
        base = read_report(calibration.bundle, self.base)
        layers = base.get("int8_layers", [])
        has_backbone = any(calibration.modules.is_backbone(node.name) for node in named.graph.node)
        # Of the float graph: what quantises a layer differs between the INT8 graph and the one that is made of it here.
        candidates = float32_parts(_arranged(named) if has_backbone else named, calibration.modules)
        for index, parts in enumerate(candidates):
            fitted = self._fitted(calibration, base, parts) if has_backbone else None
            model = calibration.graph(self.base) if fitted is None else fitted
            gated = gate.judge(model, self.precision, quantised_layers=len(layers), float32=parts)
            kept = "the start of the backbone" if parts and index == 0 else "all that judges" if parts else "nothing"
            calibration.listeners.log(
                f"{self.precision} with {kept} in float32: {describe_checks(gated.report)}."
            )
            if gated.report.passed:
                return Made(fitted, gated, {"float32": parts, "gate": gated.report.model_dump()}, parts)
        raise QualityGateError(
            f"{self.precision} fails the accuracy gate: {failed_checks(gated.report)}.",
            f"Use --precision {self.base}, or give --max-drop more room; the bundle's graphs are as they were.",
            gated.report.model_dump(),
        )

    def _fitted(self, calibration: Calibration, base: dict[str, Any], parts: list[str]) -> ModelProto:
        """The graph with everything that is fitted on features, on those of its backbone in bfloat16."""
        layers, modules, held = base.get("int8_layers", []), calibration.modules, calibration.held
        candidates = int8_candidates(calibration.model, modules) if layers else []
        rule: RangeChoice = base.get("source", {}).get("rule", "auto")
        frames = held.ranges[:_ROUNDING_IMAGES, np.newaxis]
        rounded: dict[str, NDArray[np.float32]] = {}

        def prepared(model: ModelProto) -> ModelProto:
            """With the backbone's weights in bfloat16: the same in every graph here, since it is frozen."""
            if not rounded:
                own = [node.name for node in model.graph.node if modules.is_backbone(node.name)]
                rounded.update(round_to_bf16(model, set(own).difference(parts), frames))
            return _arranged(with_constants(model, rounded))

        def features(model: ModelProto, name: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            return bf16_features(prepared(model), name, images, float32=parts)

        quantiser = RefittingQuantiser(
            calibration.run, calibration.model, candidates, held, rule, calibration.listeners.log, features
        )
        return prepared(quantiser.quantise(layers))


def _arranged(model: ModelProto) -> ModelProto:
    """A copy that does the same in less time in bfloat16."""
    copy = ModelProto.FromString(model.SerializeToString())
    fill_channels(copy)
    positions_as_groups(copy)
    return copy
