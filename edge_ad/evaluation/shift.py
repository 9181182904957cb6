"""Measure a detector or an engine on shifted test images, at the threshold that unshifted good photos set."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_ad.data.line_shifts import move
from edge_ad.data.samples import Product, Sample, read_mask, resize_mask
from edge_ad.data.shift_kinds import Motion, ShiftKind, step_words
from edge_ad.errors import UsageError
from edge_ad.evaluation.evaluate import (
    JudgedInput,
    Predictor,
    check_test_images,
    predict_batch,
    read_test_photo,
    seen_samples,
)
from edge_ad.evaluation.metrics import image_auroc, pixel_auroc_and_pro
from edge_ad.evaluation.results import Rate
from edge_ad.evaluation.shift_results import ShiftAt, ShiftReport, ShiftResult, ShiftStep, find_tolerances
from edge_ad.evaluation.thresholds import rate_upper_bound
from edge_ad.manifest import Threshold
from edge_ad.photo_spec import NetworkInput, PhotoSpec

__all__ = ["Pixels", "ShiftProgress", "measure_shift"]

Pixels: TypeAlias = Literal["all", "unshifted", "none"]
"""At which steps pixel AUROC and PRO are measured."""

ShiftProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is measured, in words, images done, and images in all."""

_ROOM_MIB = 512
_MOST_THREADS = 4


def measure_shift(
    predict: Predictor,
    product: Product,
    size_hw: tuple[int, int],
    threshold: Threshold | None,
    photos: PhotoSpec | None,
    shifts: Sequence[ShiftKind],
    *,
    shift_at: ShiftAt = "file",
    batch: int = 8,
    pixels: Pixels = "all",
    room_mib: int = _ROOM_MIB,
    engine: str = "",
    trained_on: Collection[str] = (),
    progress: ShiftProgress | None = None,
) -> ShiftReport:
    """Score every test image without a shift and at every step of every kind.

    All photos are shifted, good and defective ones, with noise that is seeded by the content of each; masks move with
    their photo. The maps of one step are in memory at a time, and as many decoded photos as fit into ``room_mib``: the
    others are decoded again for each step.

    Args:
        predict: What predicts.
        product: Opened product with test images.
        size_hw: Height and width of the network's input, in pixels.
        threshold: Threshold to count false alarms and recall at; without one there are scores alone.
        photos: What the photos were like that were trained on; None as runs of before.
        shifts: Kinds with their steps, as `parse_shifts` gives them.
        shift_at: ``"file"`` shifts the decoded photo (8 bits a value) at its own resolution, ``"network"`` what fills
            the network's input.
        batch: Images per call of ``predict``, >= 1.
        pixels: Where to measure pixel AUROC and PRO, which take as long as the network of an edge device:
            at all steps, without a shift only, or not at all.
        room_mib: Memory for decoded photos, in MiB.
        engine: What runs, in words, for the record.
        trained_on: Content hashes of the photos that were trained on.
        progress: Told after every batch.

    Raises:
        DataError: No test images, or one that cannot be read, or is of another depth or shape than those that were
            trained on.
        EdgeAdError: The number of predictions differs from the number of images, or a score or map is not finite.
        UsageError: No kind was given.
    """
    check_test_images(product)
    if not shifts:
        raise UsageError("There is no shift to measure.", "For example: --shift line")
    subject = _Subject(
        predict, product.test, size_hw, threshold, photos or PhotoSpec(), shift_at, batch, pixels, room_mib << 20
    )
    total = (1 + sum(len(kind.steps) for kind in shifts)) * len(product.test)
    counted = _Counter(progress, total)
    unshifted = subject.measured(None, 0.0, counted)
    results = []
    for kind in shifts:
        steps = tuple(subject.measured(kind, step, counted) for step in sorted(kind.steps))
        results.append(ShiftResult(kind, steps, find_tolerances(kind, steps, unshifted, threshold)))
    return ShiftReport(
        product=product.name,
        engine=engine,
        shift_at=shift_at,
        size_hw=size_hw,
        photo_sizes_hw=tuple(sorted(set(subject.shapes.values()))),
        images=len(product.test),
        defective=sum(sample.is_defective for sample in product.test),
        without_mask=0 if pixels == "none" else subject.without_mask,
        threshold=threshold,
        unshifted=unshifted,
        results=tuple(results),
        seen=tuple(_below(product.test[index].path, product.root) for index in seen_samples(product.test, trained_on)),
    )


def _below(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else Path(path.name)


@dataclass
class _Counter:
    """Counts images over all steps."""

    progress: ShiftProgress | None
    total: int
    done: int = 0

    def add(self, what: str, count: int) -> None:
        self.done += count
        if self.progress is not None:
            self.progress(what, self.done, self.total)


class _Photo(NamedTuple):
    """A picture to shift: the photo, or what of it fills the network's input."""

    image: NDArray[np.uint8]  # (H, W, 3) BGR
    made: NetworkInput | None  # what of the photo that is; None for all
    seed: int


class _Subject:
    """What is measured, with the photos and masks that every step needs."""

    def __init__(
        self,
        predict: Predictor,
        samples: Sequence[Sample],
        size_hw: tuple[int, int],
        threshold: Threshold | None,
        photos: PhotoSpec,
        shift_at: ShiftAt,
        batch: int,
        pixels: Pixels,
        room: int,
    ) -> None:
        self.shapes: dict[int, tuple[int, int]] = {}
        self._map_hw = photos.map_hw(size_hw)
        self._matrices: dict[int, NDArray[np.float64] | None] = {}
        self._predict, self._samples, self._size_hw, self._threshold = predict, samples, size_hw, threshold
        self._photos, self._at, self._batch, self._pixels = photos, shift_at, batch, pixels
        self._labels = np.array([sample.is_defective for sample in samples], np.bool_)
        self._kept: dict[int, _Photo] = {}
        self._room, self._lock = room, threading.Lock()
        self._still: NDArray[np.bool_] | None = None

    @property
    def without_mask(self) -> int:
        """Defective images without a marked pixel."""
        return int(self._labels.sum() - (self._labels & self._still_masks().any(axis=(1, 2))).sum())

    def measured(self, kind: ShiftKind | None, step: float, counted: _Counter) -> ShiftStep:
        """Measure one step; without a kind, the photos as they are."""
        keeps_maps = self._pixels == "all" or (self._pixels == "unshifted" and kind is None)
        scores, maps = self._scored(kind, step, counted, keeps_maps=keeps_maps)
        motion = kind.motion(step) if kind is not None and kind.motion is not None else None
        judged = np.isfinite(scores)
        pixel_values = self._pixel_values(maps, judged, motion) if keeps_maps else (None, None)
        good, defective = scores[~self._labels], scores[self._labels]
        seen, labels = scores[judged], self._labels[judged]
        auroc = image_auroc(labels, seen) if labels.any() and not labels.all() else None
        middle = float(np.median(seen[~labels])) if not labels.all() else None
        found = ShiftStep(step, auroc, *pixel_values, middle, unjudged=int((~judged).sum()))
        return found if self._threshold is None else _judged(found, good, defective, self._threshold)

    def _scored(
        self, kind: ShiftKind | None, step: float, counted: _Counter, *, keeps_maps: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        what = "unshifted" if kind is None else f"{kind.name} {step_words(step)}"
        count = len(self._samples)
        scores, maps = np.empty(count), np.zeros((count if keeps_maps else 0, *self._map_hw), np.float32)
        scores.fill(np.inf)  # what cannot be judged does not pass
        for part, inputs in self._inputs(kind, step):
            chosen = [index for index, made in zip(part, inputs, strict=True) if not made.problem]
            tests = [JudgedInput(self._samples[index], inputs[index - part[0]], self.shapes[index]) for index in chosen]
            if tests:
                scores[chosen], found = predict_batch(self._predict, tests, self._photos)
                if keeps_maps:
                    maps[chosen] = found
            counted.add(what, len(part))
        return scores, maps

    def _inputs(self, kind: ShiftKind | None, step: float) -> Iterator[tuple[range, list[NetworkInput]]]:
        """Inputs of the network, batch by batch; the next batch is made while one is judged."""

        def make(index: int) -> NetworkInput:
            photo = self._photo(index)
            image = photo.image if kind is None else kind.apply(photo.image, step, photo.seed)
            return (
                self._photos.prepare(image, self._size_hw) if photo.made is None else photo.made._replace(image=image)
            )

        count = len(self._samples)
        parts = [range(start, min(start + self._batch, count)) for start in range(0, count, self._batch)]
        with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
            waiting = [pool.submit(make, index) for index in parts[0]]
            for number, part in enumerate(parts):
                ready = waiting
                waiting = [pool.submit(make, index) for index in (parts[number + 1] if part != parts[-1] else ())]
                yield part, [future.result() for future in ready]

    def _photo(self, index: int) -> _Photo:
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        image = read_test_photo(self._samples[index], self._photos)
        self.shapes[index] = (image.shape[0], image.shape[1])
        made = None
        if self._at == "network":
            made = self._photos.prepare(image, self._size_hw)
            image, self._matrices[index] = made.image, made.matrix
        # By content: the same photo has the same noise wherever it lies, and at every step.
        photo = _Photo(image, made, zlib.crc32(image.tobytes()))
        with self._lock:
            if image.nbytes <= self._room:
                self._room -= image.nbytes
                self._kept[index] = photo
        return photo

    def _pixel_values(
        self, maps: NDArray[np.float32], judged: NDArray[np.bool_], motion: Motion | None
    ) -> tuple[float | None, float | None]:
        masks = self._still_masks() if motion is None else self._moved_masks(motion)
        # A defective image without a marked pixel says nothing about its pixels: none may count as good. Nor is there
        # a map of one that could not be judged.
        known = judged & (~self._labels | masks.any(axis=(1, 2)))
        if not known.all():
            masks, maps = masks[known], maps[known]
        if not masks.any() or masks.all():
            return None, None
        return pixel_auroc_and_pro(masks, maps)

    def _still_masks(self) -> NDArray[np.bool_]:
        if self._still is None:
            self._still = np.stack([self._mask(sample, self._map_hw) for sample in self._samples])
        return self._still

    def _moved_masks(self, motion: Motion) -> NDArray[np.bool_]:
        masks = np.zeros((len(self._samples), *self._map_hw), np.bool_)
        for index, sample in enumerate(self._samples):
            if sample.mask_path is not None:
                shape = self.shapes[index]
                mask = read_mask(sample, shape).view(np.uint8)
                moved = move(mask, *self._on_photo(motion, index), is_mask=True) > 0
                masks[index] = resize_mask(moved, self._map_hw)
        return masks

    def _on_photo(self, motion: Motion, index: int) -> Motion:
        """A motion of the picture that is shifted, in pixels of the photo."""
        if self._at == "file":
            return motion
        shape, aligned = self.shapes[index], self._matrices.get(index)
        if aligned is not None:
            return _through(motion, aligned, self._size_hw, shape)
        across, down = shape[1] / self._size_hw[1], shape[0] / self._size_hw[0]
        if self._photos.geometry in ("letterbox", "crop"):  # one scale for both axes
            cropped = self._photos.crop_share * min(across, down)
            across = down = max(across, down) if self._photos.geometry == "letterbox" else cropped
        scale = np.diag([across, down])
        matrix, by_xy = motion
        return scale @ matrix @ np.linalg.inv(scale), (by_xy[0] * across, by_xy[1] * down)

    def _mask(self, sample: Sample, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
        return np.zeros(size_hw, np.bool_) if sample.mask_path is None else read_mask(sample, size_hw)


def _through(
    motion: Motion, aligned: NDArray[np.float64], size_hw: tuple[int, int], photo_hw: tuple[int, int]
) -> Motion:
    """A motion about the middle of an aligned input as one about the middle of its photo."""
    matrix, by_xy = motion
    turn, origin = aligned[:, :2], aligned[:, 2]
    middle, photo_middle = ((np.array(hw[::-1]) - 1) / 2 for hw in (size_hw, photo_hw))
    on_photo = turn @ matrix @ np.linalg.inv(turn)
    start = np.linalg.solve(turn, photo_middle - origin)  # the photo's middle, in pixels of the input
    end = turn @ (middle + matrix @ (start - middle) + np.asarray(by_xy)) + origin
    return on_photo, (float(end[0] - photo_middle[0]), float(end[1] - photo_middle[1]))


def _judged(
    found: ShiftStep, good: NDArray[np.float64], defective: NDArray[np.float64], threshold: Threshold
) -> ShiftStep:
    alarms = Rate.of(good > threshold.value) if good.size else None
    middle = found.good_score
    return replace(
        found,
        good_over_threshold=middle / threshold.value if middle is not None and threshold.value > 0 else None,
        false_alarms=alarms,
        false_alarm_bound=None
        if alarms is None
        else rate_upper_bound(alarms.count, alarms.total, threshold.confidence),
        recall=Rate.of(defective > threshold.value) if defective.size else None,
    )
