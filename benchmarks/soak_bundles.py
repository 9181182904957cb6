"""Tiny bundles for the soak: good ones that take turns, and ones that must be refused, each for a reason of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from onnx.parser import parse_model

from edge_ad.bundle import Bundle, Reference, write_bundle
from edge_ad.bundle.bundle import MANIFEST_FILE
from edge_ad.images import resize
from edge_ad.manifest import GraphInfo, Manifest, SplitInfo, Threshold
from edge_ad.prediction import Prediction
from edge_ad.runtime import open_engine

__all__ = ["BRIGHT_EVERY", "REFUSED_KINDS", "line_frame", "make_good_bundle", "make_refused_bundle"]

BRIGHT_EVERY = 97
"""Every so many frames one is defective: twice as bright as the others are at most."""

_SIDE = 32
_FRAME_SIDE = 48
_GRAPH_FILE = "model.onnx"
_REFERENCE_IMAGES = 4
_THRESHOLD_FRAMES = 3 * BRIGHT_EVERY

_GRAPH = """
<ir_version: 9, opset_import: ["" : 18]>
deploy (uint8[N, {side}, {side}, 3] image) => (float[N] score, float[N, {side}, {side}] anomaly_map)
<int64[1] channel = {{1}}, int64[2] pixels = {{1, 2}}> {{
    float = Cast <to = 1> (image)
    channels_first = Transpose <perm = [0, 3, 1, 2]> (float)
    unit = Mul (channels_first, scale)
    features = Conv <pads = [1, 1, 1, 1]> (unit, first)
    active = Relu (features)
    map = Conv <pads = [1, 1, 1, 1]> (active, second)
    squeezed = Squeeze (map, channel)
    anomaly_map = Mul (squeezed, gain)
    score = ReduceMax <keepdims = 0> (anomaly_map, pixels)
}}
"""


@dataclass(frozen=True)
class _Network:
    """Two convolutions with random weights, more of them positive, so that what is bright scores high.

    Attributes:
        seed: Of the weights.
        gain: What scores and map are multiplied by.
        side: Height and width of the images, in pixels.
    """

    seed: int
    gain: float = 1.0
    side: int = _SIDE

    def to_bytes(self) -> bytes:
        rng = np.random.default_rng(self.seed)
        weights = {
            "scale": np.float32(1 / 255),
            "first": rng.normal(0.1, 0.2, (16, 3, 3, 3)).astype(np.float32),
            "second": rng.normal(0.1, 0.2, (1, 16, 3, 3)).astype(np.float32),
            "gain": np.float32(self.gain),
        }
        model: ModelProto = parse_model(_GRAPH.format(side=self.side))
        model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
        return bytes(model.SerializeToString())


def line_frame(number: int) -> NDArray[np.uint8]:
    """Frame of the line, from 1: uint8 (48, 48, 3) of noise; the defective ones are bright (see `BRIGHT_EVERY`)."""
    highest = 255 if number % BRIGHT_EVERY == 0 else 120
    return np.random.default_rng(number).integers(0, highest, (_FRAME_SIDE, _FRAME_SIDE, 3), dtype=np.uint8)


def make_good_bundle(root: Path, seed: int) -> Bundle:
    """Write a bundle whose threshold tells defective frames from good ones and whose reference outputs are its own.

    Args:
        root: New folder.
        seed: Of the weights: another one is another bundle.
    """
    draft = _write(root.with_name(f"{root.name}-draft"), _Network(seed), threshold=0.0, reference=None)
    predictions = _predictions(draft)
    threshold = _between_good_and_defective([item.score for item in predictions])
    recorded = predictions[:_REFERENCE_IMAGES]
    reference = Reference(
        np.stack([_image(number) for number in range(1, _REFERENCE_IMAGES + 1)]),
        np.array([item.score for item in recorded], np.float32),
        np.stack([item.anomaly_map for item in recorded]),
    )
    return _write(root, _Network(seed), threshold=threshold, reference=reference)


def make_refused_bundle(root: Path, kind: str, seed: int) -> None:
    """Write a bundle that no stream may take over.

    Args:
        root: New folder.
        kind: One of `REFUSED_KINDS`.
        seed: Of the good bundle that it would be, were it not spoilt.
    """
    good = make_good_bundle(root.with_name(f"{root.name}-unspoilt"), seed)
    if kind in _OTHER_NETWORKS:
        threshold = good.graph("fp32").threshold.value
        _write(root, _OTHER_NETWORKS[kind](seed), threshold=threshold, reference=good.reference())
    else:
        _SPOILT_FILES[kind](good.root.rename(root))


def _scaled(seed: int) -> _Network:
    return _Network(seed, gain=0.01)


def _without_numbers(seed: int) -> _Network:
    return _Network(seed, gain=float("nan"))


def _of_other_images(seed: int) -> _Network:
    return _Network(seed, side=_SIDE - 8)


def _of_other_weights(seed: int) -> _Network:
    return _Network(seed + 1000)


def _damage(root: Path) -> None:
    graph = bytearray((root / _GRAPH_FILE).read_bytes())
    graph[len(graph) // 2] ^= 1
    (root / _GRAPH_FILE).write_bytes(graph)


def _tear(root: Path) -> None:
    manifest = root / MANIFEST_FILE
    manifest.write_bytes(manifest.read_bytes()[: manifest.stat().st_size // 2])


def _lose(root: Path) -> None:
    (root / _GRAPH_FILE).unlink()


def _lose_threshold(root: Path) -> None:
    manifest = json.loads((root / MANIFEST_FILE).read_text(encoding="utf-8"))
    manifest["graphs"]["fp32"]["threshold"]["value"] = float("nan")
    (root / MANIFEST_FILE).write_text(json.dumps(manifest), encoding="utf-8")


_OTHER_NETWORKS: Mapping[str, Callable[[int], _Network]] = {
    "scores scaled by 0.01": _scaled,
    "scores that are no numbers": _without_numbers,
    "graph of another image size": _of_other_images,
    "graph of other weights": _of_other_weights,
}
_SPOILT_FILES: Mapping[str, Callable[[Path], None]] = {
    "damaged graph": _damage,
    "torn manifest": _tear,
    "missing graph": _lose,
    "threshold that is no number": _lose_threshold,
}
REFUSED_KINDS = (*_OTHER_NETWORKS, *_SPOILT_FILES)
"""Why a bundle must be refused."""


def _write(root: Path, network: _Network, *, threshold: float, reference: Reference | None) -> Bundle:
    decision = Threshold(
        value=threshold,
        rule="between good and defective frames",
        false_alarm_rate=0.01,
        false_alarm_bound=0.1,
        confidence=0.95,
        good_images=_THRESHOLD_FRAMES,
    )
    manifest = Manifest(
        method="tiny",
        parameters={},
        product="soak",
        input_size_hw=(_SIDE, _SIDE),
        graphs={"fp32": GraphInfo(file=_GRAPH_FILE, threshold=decision)},
        split=SplitInfo(seed=network.seed, fit=[], calibrate=[], threshold=[]),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    files = {_GRAPH_FILE: network.to_bytes()}
    if reference is not None:
        files["reference.npz"] = reference.to_bytes()
    return write_bundle(root, manifest, files)


def _predictions(bundle: Bundle) -> list[Prediction]:
    with open_engine(bundle, backend="onnxruntime", threads=1) as engine:
        return [engine.infer(_image(number)[np.newaxis])[0] for number in range(1, _THRESHOLD_FRAMES + 1)]


def _image(number: int) -> NDArray[np.uint8]:
    return resize(line_frame(number), (_SIDE, _SIDE))


def _between_good_and_defective(scores: list[float]) -> float:
    """The middle of the gap; the scores are those of the first frames."""
    is_bright = np.arange(1, len(scores) + 1) % BRIGHT_EVERY == 0
    values = np.array(scores)
    highest_good, lowest_defective = float(values[~is_bright].max()), float(values[is_bright].min())
    if not highest_good < lowest_defective:
        raise ValueError(f"good frames score up to {highest_good}, defective ones from {lowest_defective}")
    return (highest_good + lowest_defective) / 2
