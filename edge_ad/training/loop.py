"""The one training loop: stages of epochs over images in memory, resumable bit for bit at every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_ad.models.base import AnomalyDetector, Stage, TrainingBatch
from edge_ad.training.checkpoints import Progress, restore_training, training_tensors
from edge_ad.training.feature_cache import to_tensor
from edge_ad.training.precision import autocast
from edge_ad.training.schedules import learning_rate_scale

__all__ = ["EpochReport", "LoopSettings", "TrainingSet", "epochs_of", "run_stages"]


@dataclass(frozen=True)
class TrainingSet:
    """The fitting images and what the frozen parts say of them.

    Attributes:
        images: uint8 BGR (N, H, W, 3).
        frozen: (N, ...), as the detector's ``frozen_outputs`` gave it.
    """

    images: NDArray[np.uint8]
    frozen: Tensor


@dataclass(frozen=True)
class LoopSettings:
    """How to train.

    Attributes:
        seed: Order, flips and pairs follow from it, the stage and the epoch.
        batch_size: Images per step.
        flips: Mirror images and their masks at random, both ways.
        mixed_precision: bfloat16 where the hardware has it.
        device: Where to train.
    """

    seed: int
    device: torch.device
    batch_size: int = 4
    flips: bool = True
    mixed_precision: bool = True


@dataclass(frozen=True)
class EpochReport:
    """What one epoch did.

    Attributes:
        stage: Name of the stage.
        progress: Stage and epochs done, to resume from.
        epochs: Epochs of the stage.
        losses: Mean of each loss term.
        learning_rate: At the end of the epoch.
        seconds: Wall time.
        tensors: Everything needed to go on from here.
    """

    stage: str
    progress: Progress
    epochs: int
    losses: dict[str, float]
    learning_rate: float
    seconds: float
    tensors: dict[str, Tensor]


def epochs_of(stage: Stage, images: int, batch_size: int) -> int:
    """Epochs of a stage: as asked, or as many as give about ``stage.steps`` steps."""
    return stage.epochs or math.ceil(stage.steps / math.ceil(images / batch_size))


def run_stages(
    detector: AnomalyDetector,
    data: TrainingSet,
    settings: LoopSettings,
    report: Callable[[EpochReport], None],
    resume: tuple[Progress, dict[str, Tensor]] | None = None,
) -> None:
    """Train all stages of a detector in place.

    Args:
        detector: On ``settings.device``.
        data: What to train on.
        settings: How.
        report: Called after each epoch.
        resume: Progress and tensors of the epoch to go on from.
    """
    done = Progress(0, 0) if resume is None else resume[0]
    for index, stage in enumerate(detector.stages()):
        if index >= done.stage:
            saved = resume[1] if resume is not None and index == done.stage else None
            _run_stage(detector, data, settings, report, index, stage, done.epoch if saved is not None else 0, saved)
    detector.eval().requires_grad_(False)


def _run_stage(
    detector: AnomalyDetector,
    data: TrainingSet,
    settings: LoopSettings,
    report: Callable[[EpochReport], None],
    index: int,
    stage: Stage,
    start: int,
    saved: dict[str, Tensor] | None,
) -> None:
    groups = detector.start_stage(stage)
    optimiser = torch.optim.Adam(groups, lr=stage.learning_rate, fused=True)  # one kernel: a small head is all steps
    if saved is not None:
        restore_training(saved, detector, optimiser)
    epochs = epochs_of(stage, len(data.images), settings.batch_size)
    for epoch in range(start, epochs):
        began = time.perf_counter()
        losses = _run_epoch(detector, data, settings, optimiser, stage, index, epoch, epochs)
        report(
            EpochReport(
                stage=stage.name,
                progress=Progress(index, epoch + 1),
                epochs=epochs,
                losses=losses,
                learning_rate=float(optimiser.param_groups[-1]["lr"]),
                seconds=time.perf_counter() - began,
                tensors=training_tensors(detector, optimiser),
            )
        )


def _run_epoch(
    detector: AnomalyDetector,
    data: TrainingSet,
    settings: LoopSettings,
    optimiser: torch.optim.Optimizer,
    stage: Stage,
    index: int,
    epoch: int,
    epochs: int,
) -> dict[str, float]:
    generator = torch.Generator().manual_seed(hash((settings.seed, index, epoch)) & 0x7FFFFFFFFFFFFFFF)
    on_features = detector.trains_on_features
    mixed_precision = settings.mixed_precision and not on_features  # a small head gains no time, and loses digits
    batches = math.ceil(len(data.images) / settings.batch_size)
    totals: dict[str, float] = {}
    for step, batch in enumerate((_feature_batches if on_features else _batches)(data, settings, batches, generator)):
        scale = learning_rate_scale(stage.schedule, (epoch * batches + step) / (epochs * batches))
        for group in optimiser.param_groups:
            group["lr"] = stage.learning_rate * group["lr_scale"] * scale
        with autocast(settings.device, enabled=mixed_precision):
            losses = detector.training_loss(batch, stage, generator)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        optimiser.step()
        for name, value in losses.items():
            totals[name] = totals.get(name, 0.0) + float(value.detach()) / batches
    return totals


def _batches(
    data: TrainingSet, settings: LoopSettings, batches: int, generator: torch.Generator
) -> Iterator[TrainingBatch]:
    """Batches of nearly equal size in a random order: a last batch of one image would spoil batch statistics."""
    order = torch.randperm(len(data.images), generator=generator)
    for chosen in order.tensor_split(batches):
        images = to_tensor(data.images[chosen.numpy()], settings.device)
        frozen = data.frozen[chosen].to(settings.device)
        if settings.flips:
            images, frozen = _flip(images, frozen, generator)
        yield TrainingBatch(images.contiguous(memory_format=torch.channels_last), frozen)


def _feature_batches(
    data: TrainingSet, settings: LoopSettings, batches: int, generator: torch.Generator
) -> Iterator[TrainingBatch]:
    """Batches without images, and never mirrored: a mirrored feature map is not the features of a mirrored image."""
    order = torch.randperm(len(data.images), generator=generator)
    for chosen in order.tensor_split(batches):
        yield TrainingBatch(torch.empty(len(chosen), 0), data.frozen[chosen].to(settings.device))


def _flip(images: Tensor, frozen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror single images, and what belongs to them, across each axis with probability one half."""
    for axis in (2, 3):
        mirrored = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)[:, None, None, None]
        images = torch.where(mirrored, images.flip(axis), images)
        frozen = torch.where(mirrored, frozen.flip(axis), frozen) if frozen.dim() == 4 else frozen
    return images, frozen
