"""What a step of the training sees: which images, mirrored how, and with which simulated defects."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_ad.models.base import AnomalyDetector, TrainingBatch
from edge_ad.training.feature_cache import to_tensor
from edge_ad.training.precision import sent_to
from edge_ad.training.simulated_samples import BatchOrder, SampleFeed

__all__ = [
    "LoopSettings",
    "TrainingSet",
    "batch_count",
    "batch_parts",
    "epoch_generator",
    "feature_batches",
    "image_batches",
    "photo_batches",
    "sample_feed",
]


@dataclass(frozen=True)
class TrainingSet:
    """The fitting images and what the frozen parts say of them.

    Attributes:
        images: uint8 BGR (N, H, W, 3): photos, each followed by its views.
        frozen: (N, ...), as the detector's ``frozen_outputs`` gave it.
        views: Views of each photo.
        held_out: uint8 BGR (M, H, W, 3): the calibration images; None where there are none.
    """

    images: NDArray[np.uint8]
    frozen: Tensor
    views: int = 0
    held_out: NDArray[np.uint8] | None = None

    @property
    def photos(self) -> int:
        """Photos, without their views: so many images are seen in an epoch."""
        return len(self.images) // (1 + self.views)

    def frozen_of(self, chosen: Tensor, room: Tensor) -> Tensor:
        """What the frozen parts say of some images.

        Args:
            chosen: int64 (n,), which images.
            room: (m, ...) with m >= n, memory for the answer, which is written over.

        Returns:
            (n, ...), in ``room``.
        """
        return torch.index_select(self.frozen, 0, chosen, out=room[: len(chosen)])


@dataclass(frozen=True)
class LoopSettings:
    """How to train.

    Attributes:
        seed: Order, flips and pairs follow from it, the stage and the epoch.
        batch_size: Images per step.
        flips: Mirror images and their masks at random, both ways.
        mixed_precision: bfloat16 where the hardware has it.
        device: Where to train.
        workers: Processes that simulate defects, for a detector that learns from them; 0 simulates in this one. The
            result is the same.
        compiled: Compile the networks that are trained, by torch.compile.
    """

    seed: int
    device: torch.device
    batch_size: int = 4
    flips: bool = True
    mixed_precision: bool = True
    workers: int = 0
    compiled: bool = False


def photo_batches(photos: NDArray[np.uint8] | None, settings: LoopSettings) -> Iterator[Tensor]:
    """Photos, uint8 BGR (N, H, W, 3), in their order as float RGB batches on the device."""
    count = 0 if photos is None else len(photos)
    for start in range(0, count, settings.batch_size):
        assert photos is not None
        yield to_tensor(photos[start : start + settings.batch_size], settings.device)


def batch_count(data: TrainingSet, settings: LoopSettings) -> int:
    """Steps of an epoch."""
    return math.ceil(data.photos / settings.batch_size)


def epoch_generator(settings: LoopSettings, index: int, epoch: int) -> torch.Generator:
    """What draws the order, the flips and the pairs of an epoch of a stage."""
    return torch.Generator().manual_seed(hash((settings.seed, index, epoch)) & 0x7FFFFFFFFFFFFFFF)


def batch_parts(data: TrainingSet, batches: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Indices of batches of nearly equal size in a random order: a batch of one image would spoil batch statistics.

    Each photo is seen once: as it is or in one of its views, each as likely. More views do not lengthen an epoch.
    """
    photos = torch.randperm(data.photos, generator=generator)
    if not data.views:
        return photos.tensor_split(batches)
    drawn = torch.randint(1 + data.views, (data.photos,), generator=generator)
    return (photos * (1 + data.views) + drawn).tensor_split(batches)


def sample_feed(
    detector: AnomalyDetector, data: TrainingSet, settings: LoopSettings, index: int, epochs: range
) -> AbstractContextManager[SampleFeed | None]:
    """Simulated defects for all epochs of a stage, so that one epoch's end does not wait for the next one's start."""
    if detector.simulator is None:
        return nullcontext()
    orders = (
        BatchOrder((index, epoch), tuple(part.tolist()))
        for epoch in epochs
        for part in batch_parts(data, batch_count(data, settings), epoch_generator(settings, index, epoch))
    )
    size, workers = min(settings.batch_size, data.photos), settings.workers
    return SampleFeed(detector.simulator, data.images, orders, batch_size=size, workers=workers)


def image_batches(
    data: TrainingSet,
    settings: LoopSettings,
    parts: tuple[Tensor, ...],
    generator: torch.Generator,
    feed: SampleFeed | None,
) -> Iterator[TrainingBatch]:
    """Batches of images, from the feed where there is one, mirrored at random where that is asked for."""
    for chosen in parts:
        batch = _batch(data, settings, chosen) if feed is None else _simulated(data, settings, chosen, feed)
        if settings.flips:
            batch = _flip(batch, generator)
        yield batch._replace(images=batch.images.contiguous(memory_format=torch.channels_last))


def _batch(data: TrainingSet, settings: LoopSettings, chosen: Tensor) -> TrainingBatch:
    images = to_tensor(data.images[chosen.numpy()], settings.device)
    return TrainingBatch(images, sent_to(settings.device, data.frozen[chosen]))


def _simulated(data: TrainingSet, settings: LoopSettings, chosen: Tensor, feed: SampleFeed) -> TrainingBatch:
    samples = feed.take()
    good, defective = (to_tensor(images, settings.device) for images in (samples.good, samples.defective))
    masks = sent_to(settings.device, torch.from_numpy(samples.masks)[:, None]).to(torch.float32)
    return TrainingBatch(good, sent_to(settings.device, data.frozen[chosen]), defective, masks)


def feature_batches(data: TrainingSet, settings: LoopSettings, parts: tuple[Tensor, ...]) -> Iterator[TrainingBatch]:
    """Batches without images, and never mirrored: a mirrored feature map is not the features of a mirrored image.

    A batch lasts until the next one: all are written into the same memory, as new pages take longer than the features.
    To a GPU each goes by pinned memory of its own, which is not used again before it has arrived.
    """
    shape, is_pinned = (max(map(len, parts)), *data.frozen.shape[1:]), settings.device.type == "cuda"
    room = data.frozen.new_empty(shape, pin_memory=is_pinned)
    for chosen in parts:
        yield TrainingBatch(torch.empty(len(chosen), 0), sent_to(settings.device, data.frozen_of(chosen, room)))
        room = data.frozen.new_empty(shape, pin_memory=True) if is_pinned else room


def _flip(batch: TrainingBatch, generator: torch.Generator) -> TrainingBatch:
    """Mirror single images, and what belongs to them, across each axis with probability one half."""
    for axis in (2, 3):
        mirrored = torch.rand(len(batch.images), generator=generator) < 0.5
        mirrored = mirrored.to(batch.images.device)[:, None, None, None]
        turn = partial(_mirror, mirrored=mirrored, axis=axis)
        defective = None if batch.defective is None else turn(batch.defective)
        masks = None if batch.masks is None else turn(batch.masks)
        batch = TrainingBatch(turn(batch.images), turn(batch.frozen), defective, masks)
    return batch


def _mirror(part: Tensor, *, mirrored: Tensor, axis: int) -> Tensor:
    return torch.where(mirrored, part.flip(axis), part) if part.dim() == 4 else part
