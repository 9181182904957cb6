"""Peers: several bundles and models in one run, anomalib's models fitted on our backbone, and their coreset."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks.suites import peer_accuracy, peers
from benchmarks.suites.farthest_first import farthest_first
from benchmarks.suites.record import read_lines
from benchmarks.suites.ways import Block
from edge_ad.models.backbones.efficientnet_lite import EfficientNetLite0
from tests.runtime.tiny_bundle import tiny_bundle


def test_other_bundles_of_ours_are_timed_in_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "benchmark_app", lambda *_: lambda seconds: Block(1.0, 3))
    first, second = tiny_bundle(tmp_path / "first").root, tiny_bundle(tmp_path / "second").root
    out = tmp_path / "peers.jsonl"
    words = [str(first), "--beside", f"tiny:size=8={second}", "--what", "end-to-end", "--precision", "fp32"]
    assert peers.main([*words, "--rounds", "1", "--seconds", "0.01", "--threads", "1", "--out", str(out)]) == 0
    (row,) = read_lines(out)
    sides = {side["name"]: side for side in row["sides"]}
    assert list(sides) == ["edge-ad", "edge-ad tiny:size=8", "benchmark_app"]
    assert sides["edge-ad tiny:size=8"]["model_mib"] == sides["edge-ad"]["model_mib"] > 0
    assert sides["benchmark_app"]["model_mib"] is None


def test_centres_are_those_of_the_plain_loop() -> None:
    vectors = torch.randn(400, 6, generator=torch.Generator().manual_seed(0))
    nearest, plain = torch.full((400,), torch.inf), [7]
    for _ in range(59):
        nearest = torch.minimum(nearest, (vectors - vectors[plain[-1]]).norm(dim=1))
        plain.append(int(nearest.argmax()))
    assert farthest_first(vectors, 7, 60).tolist() == plain


FIT = """
import json, sys
import numpy as np, torch
name, source, folder, seed = sys.argv[1:]
if name.startswith("PatchCore"): sys.exit("no memory")
given = torch.load(source, weights_only=True)
assert given["train"].shape[1:] == given["test"].shape[1:] == (256, 256, 3)
assert [tuple(features.shape) for features in given["features"]] == [(1, 40, 32, 32), (1, 112, 16, 16)]
red = given["test"][..., 0].float().numpy()
np.savez(f"{folder}/{name}.npz", scores=red.max((1, 2)), maps=red)
print("a library says hello"); print(json.dumps({"cpu_seconds": 2.5}))
"""


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """Two good photos, and a defect that is red."""
    root, image = tmp_path / "plate", np.zeros((40, 60, 3), np.uint8)
    defect, mask = image.copy(), np.zeros((40, 60), np.uint8)
    defect[10:20, 10:30, 2], mask[10:20, 10:30] = 200, 255
    named = {"train/good/0": image, "test/good/0": image, "test/red/0": defect, "ground_truth/red/0_mask": mask}
    for name, pixels in named.items():
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), pixels)
    return root


def test_what_a_peer_says_is_measured_and_one_that_fails_is_told(
    product: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fit.py").write_text(FIT)
    monkeypatch.setattr(peer_accuracy, "_FIT", tmp_path / "fit.py")
    out = tmp_path / "rows.jsonl"
    words = ["--data", str(product), "--anomalib-python", sys.executable, "--work", str(tmp_path / "work")]
    words += ["--workers", "0"]
    assert peer_accuracy.main([*words, "--out", str(out)]) == 1
    assert "plate seed 0 anomalib PatchCore-Lite0:\n  no memory" in capsys.readouterr().err
    (row,) = read_lines(out)
    assert row["method"] == "anomalib PaDiM-Lite0"
    assert (row["image_auroc"], row["cpu_seconds"]) == (1.0, 2.5)
    assert row["pixel_auroc"] > 0.99
    assert peer_accuracy.main([*words, "--peers", "PaDiM-Lite0", "--out", str(out)]) == 0
    assert read_lines(out) == [row]  # what is there is not measured again


def test_published_weights_are_loaded_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(peer_accuracy.__file__).parent))
    from benchmarks.suites.anomalib_fit import load_backbone

    published = EfficientNetLite0.imagenet_weights()
    stem = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3, bias=False), torch.nn.BatchNorm2d(32))
    load_backbone(stem, published)
    assert torch.equal(stem[0].weight, published["_conv_stem.weight"])
    assert torch.equal(stem[1].running_var, published["_bn0.running_var"])
    with pytest.raises(ValueError, match="_conv_stem"):
        load_backbone(torch.nn.Conv2d(3, 16, 3), published)
