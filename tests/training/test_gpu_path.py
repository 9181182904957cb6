"""What a training would do on a GPU, by doubles of it: there is none here."""

from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edge_ad.errors import DeviceError
from edge_ad.models.base import AnomalyDetector, TrainingBatch
from edge_ad.models.feature_detector import FeatureDetector
from edge_ad.models.registry import create_detector
from edge_ad.training import batches, preparation
from edge_ad.training.batches import LoopSettings, TrainingSet
from edge_ad.training.precision import autocast, choose_device, on_device, ready_to_train, sent_to
from edge_ad.training.request import TrainingRequest
from edge_ad.training.train import train

CUDA = torch.device("cuda:0")


class _OnTheWay:
    """Stands for a tensor: tells how it was sent."""

    def __init__(self, pinned: bool) -> None:
        self.pinned = pinned
        self.sent: list[tuple[torch.device, bool]] = []

    def is_pinned(self) -> bool:
        return self.pinned

    def pin_memory(self) -> "_OnTheWay":
        self.pinned = True
        return self

    def to(self, device: torch.device, non_blocking: bool = False) -> "_OnTheWay":
        self.sent.append((device, non_blocking and self.pinned))
        return self


def test_a_gpu_is_taken_where_there_is_one_and_named_where_there_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(DeviceError, match="cuda:2"):
        choose_device("cuda:2")


@pytest.mark.parametrize(("has_bfloat16", "enabled", "expected"), [(True, True, 1), (False, True, 0), (True, False, 0)])
def test_a_gpu_computes_in_bfloat16_where_it_has_it_and_it_is_asked_for(
    has_bfloat16: bool, enabled: bool, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[tuple[Any, ...]] = []

    @contextmanager
    def double(*arguments: Any) -> Any:
        entered.append(arguments)
        yield

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bfloat16)
    monkeypatch.setattr(torch, "autocast", double)
    with autocast(CUDA, enabled=enabled):
        pass
    assert entered == [("cuda", torch.bfloat16)] * expected


@pytest.mark.parametrize("pinned", [True, False])
def test_what_goes_to_a_gpu_goes_by_pinned_memory_without_waiting(pinned: bool) -> None:
    tensor = _OnTheWay(pinned)
    sent_to(CUDA, tensor)  # type: ignore[arg-type]
    assert tensor.sent == [(CUDA, True)]


def test_each_batch_of_features_for_a_gpu_has_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, new_empty = torch.arange(24.0).reshape(6, 4), Tensor.new_empty
    pinned: list[bool] = []

    def without_a_gpu(self: Tensor, *shape: Any, pin_memory: bool = False) -> Tensor:
        pinned.append(pin_memory)
        return new_empty(self, *shape)

    monkeypatch.setattr(Tensor, "new_empty", without_a_gpu)
    monkeypatch.setattr(batches, "sent_to", lambda device, tensor: tensor)
    data = TrainingSet(torch.zeros(6, 1, 1, 3, dtype=torch.uint8).numpy(), whole)
    parts = torch.arange(6).tensor_split(3)
    given = [batch.frozen for batch in batches.feature_batches(data, LoopSettings(0, CUDA), parts)]
    assert all(pinned)
    assert torch.equal(torch.cat(given), whole)  # none was written over


def test_only_what_is_trained_is_compiled_and_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(module))
    detector = create_detector("draem", {"size": 64})
    ready_to_train(detector, torch.device("cpu"))
    assert compiled == []
    ready_to_train(detector, torch.device("cpu"), compiled=True)
    assert compiled == [detector.get_submodule(name) for name in ("reconstructive", "discriminative")]


@pytest.mark.parametrize("method", ["patch-gaussian", "simplenet", "cutpaste", "ear"])
def test_every_frozen_network_computes_on_the_device_and_comes_back(
    method: str, product: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []

    @contextmanager
    def note_down(module: nn.Module, device: torch.device) -> Any:
        used.append(type(module).__name__)
        with on_device(module, device):
            yield

    monkeypatch.setattr(preparation, "on_device", note_down)
    values = {"simplenet": {"epochs": 1, "metric_steps": 1}, "cutpaste": {"epochs": 1, "head_epochs": 1}}
    values |= {"ear": {"steps": 1, "width": "pico", "mask_source": "full"}}
    train(TrainingRequest(method, product, tmp_path / "run", {"size": 64, **values.get(method, {})}), lambda _: None)
    expected = {"cutpaste": ["CutPaste", "PatchFeatures"], "ear": ["Ear"]}
    assert used == expected.get(method, ["PatchFeatures"])


RANDOM = {"weights": "random", "start": "random", "hidden": 8}
STEPS: dict[str, dict[str, Any]] = {
    "ear": {"width": "pico", "mask_source": "full"},
    "fader": {"width": "pico", "mask_source": "full", "predictor": "mlp"},
    "draem": {},
    "simplenet": RANDOM,
    "pbas": {**RANDOM, "probability": True},
    "boundary-shuffling": RANDOM,
    "reverse-distillation": {"weights": "random"},
}


@pytest.mark.parametrize("method", STEPS)
def test_nothing_of_a_step_is_left_on_the_cpu(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors without content stand for those of a GPU: most operations refuse to mix them with tensors of the CPU."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    nonzero = Tensor.nonzero
    monkeypatch.setattr(Tensor, "nonzero", lambda self: nonzero(torch.ones(4, device="cpu")).to(self.device))
    detector = create_detector(method, {"size": 64, **STEPS[method]})
    detector.to("meta")
    images = torch.rand(2, 3, 64, 64, device="meta")
    assert detector.eval()(images).score.device.type == "meta"
    for stage in detector.stages():
        frozen = _frozen(detector, images)
        defective = images if detector.simulator is not None else None
        batch = TrainingBatch(images, frozen, defective, None if defective is None else images[:, :1])
        if not detector.trains_on_features:  # the others' start reads what it fits, on the CPU
            detector.start_stage(stage)
        losses = detector.training_loss(batch, stage, torch.Generator())
        assert {term.device.type for term in losses.values()} == {"meta"}


def _frozen(detector: AnomalyDetector, images: Tensor) -> Tensor:
    if isinstance(detector, FeatureDetector):
        height, width = detector.grid_hw
        return torch.rand(len(images), height * width, detector.patch_features.channels, device="meta")
    return detector.frozen_outputs(images, None if detector.backbone is None else detector.backbone(images)).to("meta")
