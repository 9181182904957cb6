"""How near the features of an INT8 backbone are to FP32's, on images that it was not calibrated on.

    python -m benchmarks.backbone_noise RUN...

Each run gives a row per way to make its backbone INT8, and to run what is float in it in bfloat16 where the processor
has that: decibels on good photos, and under defects simulated in them. The signal is how a feature differs between good
photos at its position, the noise how INT8 differs from FP32, less what is the same in all photos and so fitted away.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from benchmarks.feature_noise import NoiseOnPhotos
from edge_ad.calibration.graph_runner import backbone_features, bf16_features
from edge_ad.calibration.layers import FloatModules, backbone_output, first_blocks, float32_parts, int8_candidates
from edge_ad.calibration.quantiser import BackboneForm, Quantiser
from edge_ad.calibration.ranges import RangeRule
from edge_ad.calibration.rescaling import scale_channels
from edge_ad.calibration.rounding import round_to_bf16, with_constants
from edge_ad.export.onnx_export import export_onnx
from edge_ad.export.passes import fill_channels
from edge_ad.images import read_resized
from edge_ad.runtime.target import processor
from edge_ad.training.runs import load_run

FeaturesOf: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def ways(model: ModelProto, modules: FloatModules, frames: NDArray[np.uint8]) -> Iterator[tuple[str, FeaturesOf]]:
    """Ways to compute the features of a float graph, its ranges measured on some frames."""
    layers = [layer for layer in int8_candidates(model, modules) if modules.is_backbone(layer)]
    more = [*layers, *first_blocks(model, modules)]
    yield (
        "to the nearest, with first blocks",
        _run(Quantiser(model, more, frames, "percentile").quantise(more), modules),
    )
    yield "by form, with first blocks, percentile", _run(_formed(model, more, frames, "percentile"), modules)
    yield "by form, with first blocks, minmax", _run(_formed(model, more, frames, "minmax"), modules)
    yield "by form, percentile", _run(_formed(model, layers, frames, "percentile"), modules)
    today = _formed(model, layers, frames, "minmax")
    yield "by form, minmax (int8 of today)", _run(today, modules)
    if processor().has_bf16:
        parts = float32_parts(_filled(model), modules)[0]
        yield "the same, float part in bfloat16, to the nearest", _run_bf16(today, modules, parts)
        names = {node.name for node in today.graph.node if modules.is_backbone(node.name)}.difference(parts)
        rounded = with_constants(today, round_to_bf16(today, names, frames[:8, np.newaxis]))
        yield (
            "the same, float part in bfloat16 by error feedback (int8-bf16 of today)",
            _run_bf16(rounded, modules, parts),
        )


def _formed(model: ModelProto, layers: Collection[str], frames: NDArray[np.uint8], rule: RangeRule) -> ModelProto:
    form = BackboneForm.measure(model, layers, frames, rule)
    return form.quantise(scale_channels(model, form.scales), layers, form.clips)


def _run(model: ModelProto, modules: FloatModules) -> FeaturesOf:
    return lambda images: backbone_features(model, backbone_output(model, modules), images)


def _run_bf16(model: ModelProto, modules: FloatModules, float32: Collection[str]) -> FeaturesOf:
    filled = _filled(model)
    return lambda images: bf16_features(filled, backbone_output(filled, modules), images, float32=float32)


def _filled(model: ModelProto) -> ModelProto:
    """Arranged as for bfloat16."""
    copy = ModelProto.FromString(model.SerializeToString())
    fill_channels(copy)
    return copy


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    for root in parser.parse_args().runs:
        run = load_run(root)
        size_hw = run.detector.config.size_hw
        model, modules = export_onnx(run.detector), FloatModules.of(run.detector)
        compared = NoiseOnPhotos(read_resized(run.split.threshold, size_hw, run.split.photos), _run(model, modules))
        for way, features in ways(model, modules, read_resized(run.split.calibrate, size_hw, run.split.photos)):
            good, under = compared.decibels(features)
            print(f"{root}: {way}: {good:.1f} dB, under defects {under:.1f} dB", flush=True)


if __name__ == "__main__":
    main()
