"""torch → ONNX: one graph that ONNX Runtime, OpenVINO and TensorRT 8.6 to 11 take."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from edge_ad.models.base import AnomalyDetector
from edge_ad.models.feature_matching import ExactMatching
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from onnx import ModelProto, checker
from onnxscript import opset18
from torch import nn
from edge_ad.calibration.graph import drop_unused, infer_shapes
from edge_ad.errors import EdgeAdError
from edge_ad.export.passes import fold_linear_maps, lower_opset, make_batch_dynamic, maps_by_matrix_product, name_layers, resize_by_scale, sigmoid_beside_convolution, square_by_product, transpose_late

__all__ = ['DeployGraph', 'export_onnx', 'trace']

_BATCHES = (13, 17, 19, 23, 29)  # to trace with; sizes that hardly any other dimension has
_TORCH_OPSET = 18  # the oldest that torch writes without converting
_FORBIDDEN = {"TopK", "NonZero", "Loop", "If", "Scan", "Shape", "GatherND", "ScatterND", "Im2Col"}


class DeployGraph(nn.Module):
    """uint8 BGR frames → scores and maps, as every engine runs it.

    Args:
        detector: The detector, in evaluation mode.
    """

    def __init__(self, detector: AnomalyDetector) -> None:
        super().__init__()
        self.detector = detector.deployed()
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Score frames.

        Args:
            image: uint8 (N, H, W, 3), BGR.

        Returns:
            ``score`` float32 (N,) and ``anomaly_map`` float32 (N, H, W).
        """
        # The cast comes first: TensorRT takes uint8 as an input, and for nothing but a cast.
        pixels = image.to(torch.float32).permute(0, 3, 1, 2)
        blue, green, red = (pixels[:, channel : channel + 1] for channel in range(3))
        # Slices, not an index: a Gather is slow in some backends and refused by others.
        output = self.detector(torch.cat([red, green, blue], dim=1) / 255.0)
        return output.score, output.anomaly_map.squeeze(1)


def export_onnx(detector: AnomalyDetector) -> ModelProto:
    """Export a detector as a deploy graph.

    Input ``image`` uint8 (N, H, W, 3) BGR; outputs ``score`` float32 (N,) and ``anomaly_map`` float32 (N, H, W).
    Only N is dynamic.

    Args:
        detector: Detector on the CPU.

    Raises:
        EdgeAdError: The detector uses an operation that some backend does not take.
    """
    frames = torch.zeros(_batch_beside(detector.config.size_hw), *detector.config.size_hw, 3, dtype=torch.uint8)
    model = trace(DeployGraph(detector), frames, ["image"], ["score", "anomaly_map"])
    sorts = any(isinstance(module, ExactMatching) for module in detector.modules())
    forbidden = sorted({node.op_type for node in model.graph.node} & (_FORBIDDEN - ({"TopK"} if sorts else set())))
    if forbidden:
        raise EdgeAdError(f"The exported graph contains {', '.join(forbidden)}, which some backends do not take.")
    return model


def _batch_beside(size_hw: tuple[int, int]) -> int:
    """A batch to trace with that is no side of a feature map, of its blocks or tiles: it divides neither side."""
    return next((batch for batch in _BATCHES if all(side % batch for side in size_hw)), _BATCHES[-1])


def trace(module: nn.Module, example: torch.Tensor, inputs: list[str], outputs: list[str]) -> ModelProto:
    """Trace a module whose input and outputs have the batch first, and clean the graph.

    Args:
        module: Module in evaluation mode.
        example: Input, of a batch that no other dimension has.
        inputs: Names of the inputs.
        outputs: Names of the outputs.
    """
    with _quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=_TORCH_OPSET,
            input_names=inputs,
            output_names=outputs,
            custom_translation_table={torch.ops.aten.sort.stable: _stable_sort},
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    name_layers(model)
    lower_opset(model)
    resize_by_scale(model)
    square_by_product(model)
    sigmoid_beside_convolution(model)
    maps_by_matrix_product(model)
    fold_linear_maps(model)
    transpose_late(model)
    make_batch_dynamic(model, example.shape[0])
    drop_unused(model)
    infer_shapes(model)
    checker.check_model(model, full_check=True)
    return model


def _stable_sort(values: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
    """A stable sort, ascending or not, of an axis of known length, which torch does not translate: ``TopK`` of all.

    ONNX takes the lower index first where two values are equal.
    """
    length = opset18.Constant(value_ints=[int(values.shape[dim])])
    return opset18.TopK(values, length, axis=dim, largest=int(descending), sorted=1)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence what the exporter says about itself; its errors still come through."""
    logger = logging.getLogger("torch.onnx")
    level: Any = logger.level
    logger.setLevel(logging.ERROR)  # it reports that torchvision is not installed
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            yield
    finally:
        logger.setLevel(level)
