"""The one training loop: stages of epochs over images in memory, resumable bit for bit at every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from edge_ad.models.base import AnomalyDetector, Stage
from edge_ad.training.batches import (
    LoopSettings,
    TrainingSet,
    batch_count,
    batch_parts,
    epoch_generator,
    feature_batches,
    image_batches,
    photo_batches,
    sample_feed,
)
from edge_ad.training.checkpoints import Progress, restore_training, training_tensors
from edge_ad.training.precision import autocast, ready_to_train
from edge_ad.training.schedules import learning_rate_scale
from edge_ad.training.simulated_samples import SampleFeed

__all__ = ["EpochReport", "LoopSettings", "TrainingSet", "epochs_of", "run_stages"]

_MOMENTUM = 0.9


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
        waited_seconds: Part of it in which the training waited for simulated defects; None where there are none.
    """

    stage: str
    progress: Progress
    epochs: int
    losses: dict[str, float]
    learning_rate: float
    seconds: float
    tensors: dict[str, Tensor]
    waited_seconds: float | None = None


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
        detector: Brought to ``settings.device``, and left there.
        data: What to train on.
        settings: How.
        report: Called after each epoch.
        resume: Progress and tensors of the epoch to go on from.
    """
    settings = replace(settings, flips=settings.flips and detector.mirrors)
    ready_to_train(detector, settings.device, compiled=settings.compiled)
    done = Progress(0, 0) if resume is None else resume[0]
    for index, stage in enumerate(detector.stages()):
        if index >= done.stage:
            saved = resume[1] if resume is not None and index == done.stage else None
            _run_stage(detector, data, settings, report, index, stage, done.epoch if saved is not None else 0, saved)
            _end_stage(detector, data, settings, stage)
    detector.eval().requires_grad_(False)


def _end_stage(detector: AnomalyDetector, data: TrainingSet, settings: LoopSettings, stage: Stage) -> None:
    fit, held_out = (photo_batches(photos, settings) for photos in (data.images[:: 1 + data.views], data.held_out))
    with torch.no_grad():
        detector.eval().end_stage(stage, fit, held_out)


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
    optimiser = _optimiser(stage, groups)
    if saved is not None:
        restore_training(saved, detector, optimiser)
    epochs = epochs_of(stage, data.photos, settings.batch_size)
    with sample_feed(detector, data, settings, index, range(start, epochs)) as feed:
        for epoch in range(start, epochs):
            began = time.perf_counter()
            losses = _run_epoch(detector, data, settings, optimiser, stage, index, epoch, epochs, feed)
            report(
                EpochReport(
                    stage=stage.name,
                    progress=Progress(index, epoch + 1),
                    epochs=epochs,
                    losses=losses,
                    learning_rate=float(optimiser.param_groups[-1]["lr"]),
                    seconds=time.perf_counter() - began,
                    tensors=training_tensors(detector, optimiser),
                    waited_seconds=None if feed is None else feed.waited_seconds(),
                )
            )


def _optimiser(stage: Stage, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if stage.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=stage.learning_rate, momentum=_MOMENTUM)
    return torch.optim.Adam(groups, lr=stage.learning_rate, fused=True)  # one kernel: a small head is all steps


def _run_epoch(
    detector: AnomalyDetector,
    data: TrainingSet,
    settings: LoopSettings,
    optimiser: torch.optim.Optimizer,
    stage: Stage,
    index: int,
    epoch: int,
    epochs: int,
    feed: SampleFeed | None,
) -> dict[str, float]:
    generator = epoch_generator(settings, index, epoch)
    on_features = detector.trains_on_features
    mixed_precision = settings.mixed_precision and not on_features  # a small head gains no time, and loses digits
    batches = batch_count(data, settings)
    totals: dict[str, Tensor] = {}
    parts = batch_parts(data, batches, generator)
    found = (
        feature_batches(data, settings, parts) if on_features else image_batches(data, settings, parts, generator, feed)
    )
    for step, batch in enumerate(found):
        scale = learning_rate_scale(stage.schedule, (epoch * batches + step) / (epochs * batches))
        for group in optimiser.param_groups:
            group["lr"] = stage.learning_rate * group["lr_scale"] * scale
        with autocast(settings.device, enabled=mixed_precision):
            losses = detector.training_loss(batch, stage, generator)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        if stage.gradient_norm:
            torch.nn.utils.clip_grad_norm_(detector.trainable(), stage.gradient_norm)
        optimiser.step()
        for name, value in losses.items():
            totals[name] = totals.get(name, 0.0) + value.detach().double() / batches  # no step waits for a GPU's value
    return {name: float(value) for name, value in totals.items()}
