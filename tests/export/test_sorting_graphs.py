"""Graphs that sort, as ``matching=exact`` does: the order of equal values on each backend, and TensorRT's limit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import ModelProto
from torch import Tensor, nn

from edge_ad.errors import BundleError
from edge_ad.export.onnx_export import trace
from edge_ad.export.tensorrt.sort_check import check_sorts
from edge_ad.models.feature_matching import ExactMatching
from edge_ad.runtime.backend import get_backend
from edge_ad.runtime.engine_source import EngineSource
from tests.runtime.tiny_bundle import threshold


class _Matched(nn.Module):
    """The colours of a photo, matched by sorting: the map is the first of them."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.matching = ExactMatching(3, size * size)
        self.matching.fit([torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        matched = self.matching(image.to(torch.float32).permute(0, 3, 1, 2) / 255)
        return matched.amax((1, 2, 3)), matched[:, 0]


def _graph(size: int) -> tuple[_Matched, ModelProto]:
    module = _Matched(size).eval()
    frames = torch.zeros(13, size, size, 3, dtype=torch.uint8)
    return module, trace(module, frames, ["image"], ["score", "anomaly_map"])


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_equal_values_keep_their_order_on_every_backend(backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    module, model = _graph(32)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    source = EngineSource(path, "fp32", (32, 32), threshold(), None, "", "test")
    images = np.random.default_rng(0).integers(0, 40, (2, 32, 32, 3), dtype=np.uint8)  # 40 values at 1024 positions
    expected = module(torch.from_numpy(images))[1].numpy()
    with get_backend(backend).open(source, threads=1) as engine:
        maps = np.concatenate([[item.anomaly_map for item in engine.infer(image[np.newaxis])] for image in images])
    np.testing.assert_allclose(maps, expected, atol=1e-5)


def test_what_tensorrt_does_not_sort_is_refused_with_what_does_not_sort() -> None:
    _, small = _graph(32)
    check_sorts(small)
    _, large = _graph(64)
    with pytest.raises(BundleError, match="sorts 4096 values .* TensorRT sorts 3840") as caught:
        check_sorts(large, "model.onnx")
    assert "matching=counts" in caught.value.hint
