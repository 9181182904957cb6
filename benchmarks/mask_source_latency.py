"""What each mask source costs: its graph alone, beside that of the patch distance, one image, in turns.

    python -m benchmarks.mask_source_latency [--only NAME...] [--size 256] [--rounds 6] [--markdown] [--out F]

A graph is the source with what it reads, such as the feature network, and the binary mask; the U-Net is not in it. The
last row is EAR as a whole. **All weights are random**: they take as long as trained ones, and no mask means anything.
Each graph is FP32, compiled by OpenVINO for one thread. A figure is CPU time, which a busy machine moves least: the
20th percentile over rounds, in milliseconds, and over that of the first row. A round times every graph once, in turns.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from edge_ad.export.onnx_export import export_onnx, trace
from edge_ad.models.ear import Ear, EarParameters
from edge_ad.runtime.openvino.api import openvino_core

_SMALL = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
_REGISTERS = {**_SMALL, "num_register_tokens": 4}
SOURCES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "`patch-distance`": ("patch-distance", {}),
    "`backbone`": ("backbone", {}),
    "`ami-net`": ("ami-net", {}),
    "`ami-net`, width 768": ("ami-net", {"ami_width": 768}),
    "`msflow`": ("msflow", {}),
    "`dsr`": ("dsr", {}),
    "`dino`, ViT-S/16": ("dino", {"model_type": "vit", **_SMALL, "patch_size": 16}),
    "`dino`, ViT-S/8": ("dino", {"model_type": "vit", **_SMALL, "patch_size": 8}),
    "`dino`, DINOv2 S/14": ("dino", {"model_type": "dinov2", "hidden_size": 384, "num_attention_heads": 6}),
    "`dino`, DINOv3 S/16": ("dino", {"model_type": "dinov3_vit", **_REGISTERS, "patch_size": 16}),
    "`vit`, ViT-B/16": ("vit", {"model_type": "vit"}),
    "`winclip`, ViT-B/32": ("winclip", {"hidden_size": 768, "num_attention_heads": 12, "patch_size": 32}),
    "`winclip`, ViT-B/16": ("winclip", {"hidden_size": 768, "num_attention_heads": 12, "patch_size": 16}),
}
"""Row → mask source, and its network's configuration or other parameters."""

_CLIP = {"num_hidden_layers": 12, "intermediate_size": 3072, "projection_dim": 512}
_DINOV2 = {"image_size": 518, "patch_size": 14}
_WHOLE = "EAR with `patch-distance`"
_PERCENTILE = 20
_BATCH = 13


class MaskGraph(nn.Module):
    """uint8 BGR frames (N, H, W, 3) → highest suspicion (N,) and binary mask (N, h, w)."""

    def __init__(self, detector: Ear) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """As an engine runs it."""
        images = image.to(torch.float32).permute(0, 3, 1, 2).flip(1) / 255.0
        features = None if self.detector.patch_features is None else self.detector.patch_features(images)
        suspicion = self.detector.mask_source(images, features)
        return suspicion.amax((1, 2, 3)), self.detector.mask_source.binary(suspicion).squeeze(1)


def detector(source: str, values: Mapping[str, Any], size: int) -> Ear:
    """EAR with a mask source of random weights."""
    own = {name: value for name, value in values.items() if name in EarParameters.model_fields}
    network = {name: value for name, value in values.items() if name not in own}
    network |= _CLIP if source == "winclip" else _DINOV2 if network.get("model_type") == "dinov2" else {}
    torch.manual_seed(0)
    config = {"mask_source": source, "size": size, **own, **({"mask_config": network} if network else {})}
    return Ear(EarParameters.model_validate(config), pretrained=False).eval()


def graph(row: str, size: int) -> Any:
    """ONNX graph of a row."""
    if row == _WHOLE:
        return export_onnx(detector("patch-distance", {}, size))
    made = detector(*SOURCES[row], size).deployed()
    frames = torch.zeros(_BATCH, size, size, 3, dtype=torch.uint8)
    return trace(MaskGraph(made).eval(), frames, ["image"], ["score", "anomaly_map"])


def compiled(model: Any, size: int) -> Callable[[], object]:
    """One run of a graph on a random image."""
    core = openvino_core()
    network = core.read_model(model.SerializeToString())
    network.reshape([1, size, size, 3])
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request: Any = core.compile_model(network, "CPU", settings).create_infer_request()
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    return lambda: request.infer([image])


def measure(rows: Sequence[str], size: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each mask source; the first is what the others are compared with."""
    runs: dict[str, Callable[[], object]] = {}
    weights: dict[str, float] = {}
    for row in rows:
        model = graph(row, size)
        weights[row] = sum(numpy_helper.to_array(tensor).size for tensor in model.graph.initializer) / 1e6
        runs[row] = compiled(model, size)
    times: dict[str, list[float]] = {row: [] for row in rows}
    for index in range(rounds + 1):
        for row in rows if index % 2 else reversed(rows):
            began = time.process_time()
            runs[row]()
            times[row].append(1e3 * (time.process_time() - began))
    found = {row: float(np.percentile(values[1:], _PERCENTILE)) for row, values in times.items()}
    base = found[rows[0]]
    return [
        {"source": row, "million_weights": round(weights[row], 1), "cpu_ms": round(ms, 1), "ratio": round(ms / base, 1)}
        for row, ms in found.items()
    ]


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of docs/explanation/mask_sources.md."""
    lines = ["| mask source | weights, million | time over `patch-distance` |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {row['source']} | {row['million_weights']} | {row['ratio']} |" for row in rows)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*SOURCES], default=[*SOURCES])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = measure([*chosen.only, _WHOLE], chosen.size, chosen.rounds)
    text = markdown(rows) if chosen.markdown else "\n".join(json.dumps(row) for row in rows)
    print(text)
    if chosen.out:
        chosen.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
