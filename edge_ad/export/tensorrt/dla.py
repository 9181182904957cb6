"""Ranges for a DLA, which takes no Q/DQ nodes: the implicit path of TensorRT 8.6 and 10."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_ad.bundle import Bundle
from edge_ad.export.tensorrt.calibration_cache import LEVELS, write_cache

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["activation_ranges", "make_calibrator", "ranges_for_dla"]


def ranges_for_dla(bundle: Bundle, model: ModelProto, version: str) -> bytes:
    """A calibration cache with a range for every float tensor of the FP32 graph.

    The ranges are those of the bundle's INT8 graph, which were measured on the calibration images. That graph quantises
    the inputs of layers alone, and a DLA wants every tensor: the others are measured on the bundle's reference photos.

    Args:
        bundle: Bundle with an INT8 graph and reference photos.
        model: Its FP32 graph.
        version: Full version of the TensorRT that will read the cache.

    Raises:
        BundleError: The bundle has no reference photos or no INT8 graph.
    """
    import onnx

    from edge_ad.calibration.fp16 import float_tensors
    from edge_ad.calibration.ranges import measure_histograms

    images = bundle.reference().images
    floats = float_tensors(model)
    tensors = [name for node in model.graph.node for name in node.output if name in floats]
    histograms = measure_histograms(model, tensors, (image[None] for image in images))
    clips = {name: histogram.clip("percentile") for name, histogram in histograms.items()}
    calibrated = activation_ranges(onnx.load_from_string(bundle.graph_bytes("int8")))
    return write_cache(clips | {name: clip for name, clip in calibrated.items() if name in clips}, version)


def activation_ranges(model: ModelProto) -> dict[str, float]:
    """Ranges of a graph with Q/DQ: tensor that is quantised → magnitude of level 127."""
    from onnx import numpy_helper

    scales = {tensor.name: tensor for tensor in model.graph.initializer}
    return {
        node.input[0]: float(numpy_helper.to_array(scales[node.input[1]]).max()) * LEVELS
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[1] in scales
    }


def make_calibrator(trt: Any, cache: bytes) -> Any:
    """A calibrator that gives TensorRT a finished cache, so that it has nothing to calibrate.

    Args:
        trt: TensorRT 8.6 or 10.
        cache: Content of a calibration cache.
    """

    class _CacheCalibrator(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: list[str]) -> None:
            return None  # no images: the cache holds every range

        def read_calibration_cache(self) -> bytes:
            return cache

        def write_calibration_cache(self, content: Any) -> None:
            """Nothing to keep: TensorRT writes what it read."""

    return _CacheCalibrator()
