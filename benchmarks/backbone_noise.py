"""How near the features of an INT8 backbone are to FP32's, on images that it was not calibrated on.

    python -m benchmarks.backbone_noise RUN...

Each run gives a line per way to make the same layers INT8. The signal is how a feature differs between photos at its
position, the noise how INT8 differs from FP32, less what is the same in all photos and so fitted away; both in the
space where the signal of all positions has unit covariance, as distances see it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad.calibration.backbone_form import BackboneForm
from edge_ad.calibration.equalisation import scale_channels
from edge_ad.calibration.layers import int8_candidates, is_backbone
from edge_ad.calibration.quantiser import Quantiser
from edge_ad.calibration.subgraph import backbone_features, backbone_output
from edge_ad.export.onnx_export import export_onnx
from edge_ad.images import read_resized
from edge_ad.training.runs import Run, load_run

_REGULARISATION = 1e-3  # of the mean variance


def signal_to_noise(exact: NDArray[np.float32], rounded: NDArray[np.float32]) -> float:
    """Decibels; features are (N, C, h, w), N photos."""
    signal, noise = (_by_patch(values) for values in (exact, rounded - exact))
    covariance = signal.T @ signal / len(signal)
    covariance += np.eye(len(covariance)) * (_REGULARISATION * np.trace(covariance) / len(covariance))
    root = np.linalg.cholesky(np.linalg.inv(covariance))
    return float(10 * np.log10(np.square(signal @ root).mean() / np.square(noise @ root).mean()))


def _by_patch(values: NDArray[np.float32]) -> NDArray[np.float64]:
    centred = (values - values.mean(0)).astype(np.float64)
    return centred.transpose(0, 2, 3, 1).reshape(-1, values.shape[1])


def ways(run: Run) -> Iterator[tuple[str, ModelProto]]:
    """Graphs of a run with the layers of its backbone in INT8."""
    model, size_hw = export_onnx(run.detector), (run.detector.config.size,) * 2
    layers = [layer for layer in int8_candidates(model) if is_backbone(layer)]
    frames = read_resized(run.split.calibrate, size_hw)
    form = BackboneForm.measure(model, layers, frames, "percentile")
    yield "FP32", model
    yield "rounded to the nearest", Quantiser(model, layers, frames, "percentile").quantise(layers)
    scaled = scale_channels(model, form.scales)
    yield "equalised, centred, rounded by error feedback", form.quantise(scaled, layers, form.clips)


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    for root in parser.parse_args().runs:
        run = load_run(root)
        graphs = dict(ways(run))
        images = read_resized(run.split.threshold, (run.detector.config.size,) * 2)
        output = backbone_output(graphs["FP32"])
        exact = backbone_features(graphs.pop("FP32"), output, images)
        for way, graph in graphs.items():
            print(f"{root}: {way}: {signal_to_noise(exact, backbone_features(graph, output, images)):.1f} dB")


if __name__ == "__main__":
    main()
