"""The sample product: a folder of photos in MVTec layout, taken from recordings of the rendered line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.products import open_product
from edge_ad.data.sample_product.camera import Camera, frames_of, record
from edge_ad.data.sample_product.defects import DEFECT_KINDS
from edge_ad.data.sample_product.scene import Scene
from edge_ad.data.samples import Product
from edge_ad.errors import UsageError
from edge_ad.storage import atomic_directory

__all__ = ["LinePart", "check_size", "render_parts", "render_product"]

_TRAIN, _TEST_GOOD, _TEST_DEFECTIVE, _CAMERA = range(4)
_LINE = 6  # keeps the parts of a shift apart from those of the product and of the video
_SMALLEST = 64
_PARTS_PER_RECORDING = 12
_FRAMES_PER_PART = 3


@dataclass(frozen=True)
class _Part:
    """A part to take a photo of.

    Attributes:
        key: Seeds of its scene.
        kind: ``"good"``, or the kind of its defect.
        photo: File of the photo.
        mask: File of the mask; None for a good part.
        has_dot: Whether it has the dot of ink.
    """

    key: tuple[int, ...]
    kind: str
    photo: Path
    mask: Path | None = None
    has_dot: bool = False


@dataclass(frozen=True)
class LinePart:
    """A part of a shift.

    Attributes:
        photo: Its photo.
        kind: ``"good"``, or the kind of its defect.
        mask: File of the mask of the defect; None for a good part.
    """

    photo: Path
    kind: str
    mask: Path | None

    @property
    def is_defective(self) -> bool:
        """Whether it has a defect."""
        return self.kind != "good"


def render_product(
    root: Path,
    *,
    seed: int = 0,
    good: int = 80,
    test_good: int = 24,
    defects_per_kind: int = 6,
    size_hw: tuple[int, int] = (256, 256),
) -> Product:
    """Render photos of a machined flange on a conveyor belt: good ones, and six kinds of defects with masks.

    The photos are single frames of H.264 recordings of the line, as `render_line_video` makes them, at most one of each
    part. Every 12 parts begin another recording, with another state of the camera.

    Args:
        root: New or empty folder; written completely or not at all.
        seed: Another seed gives other parts.
        good: Photos of good parts to train on.
        test_good: Photos of good parts to test with.
        defects_per_kind: Photos of each kind of defect.
        size_hw: Height and width of the photos, in pixels; even, at least 64.

    Returns:
        The opened product.

    Raises:
        UsageError: The folder is not empty, a video cannot have the size, or no photos to train on are wanted.
        StorageError: The folder cannot be written.
    """
    check_size(size_hw)
    if good < 1:
        raise UsageError(f"At least 1 good photo is needed, not {good}.")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(f"{root} exists and is not an empty folder.", "Give a new folder.")
    with atomic_directory(root) as folder:
        _take_all(_recordings(_parts(folder, seed, good, test_good, defects_per_kind)), size_hw)
    return open_product(root)


def render_parts(
    root: Path,
    *,
    count: int,
    defective: int,
    first: int = 0,
    has_dot: bool = False,
    seed: int = 0,
    size_hw: tuple[int, int] = (256, 256),
) -> list[LinePart]:
    """Render parts of a line's shift, one photo each, in the order in which they come.

    Args:
        root: New or empty folder: ``parts/00000.png`` and so on, and ``masks/``.
        count: How many parts.
        defective: How many of them have a defect, of all kinds in turn, spread over the shift.
        first: Number of the first part: other numbers are other parts.
        has_dot: Whether they have the dot of ink, a harmless variation.
        seed: Another seed gives other parts.
        size_hw: Height and width of the photos, in pixels; even, at least 64.

    Raises:
        UsageError: The folder is not empty, a video cannot have the size, or more defective parts than parts.
        StorageError: The folder cannot be written.
    """
    check_size(size_hw)
    if not 0 <= defective <= count or count < 1:
        raise UsageError(f"{defective} of {count} parts cannot be defective.")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(f"{root} exists and is not an empty folder.", "Give a new folder.")
    drawn = np.random.default_rng([seed, _LINE, first]).permutation(count)[:defective].tolist()
    kinds = {part: DEFECT_KINDS[place % len(DEFECT_KINDS)] for place, part in enumerate(drawn)}
    with atomic_directory(root) as folder:
        for name in ("parts", "masks"):
            (folder / name).mkdir()
        parts = [
            _line_part(folder, (seed, _LINE, first + place), first + place, kinds.get(place, "good"), has_dot=has_dot)
            for place in range(count)
        ]
        _take_all(_recordings([parts]), size_hw)
    return [
        LinePart(root / "parts" / part.photo.name, part.kind, part.mask and root / "masks" / part.mask.name)
        for part in parts
    ]


def _line_part(folder: Path, key: tuple[int, ...], number: int, kind: str, *, has_dot: bool) -> _Part:
    mask = None if kind == "good" else folder / "masks" / f"{number:05d}_mask.png"
    return _Part(key, kind, folder / "parts" / f"{number:05d}.png", mask, has_dot)


def check_size(size_hw: tuple[int, int]) -> None:
    """Raise UsageError for a size at which the part cannot be recognised, or that H.264 cannot have."""
    if min(size_hw) < _SMALLEST:
        raise UsageError(f"{size_hw[0]}x{size_hw[1]} is too small; {_SMALLEST}x{_SMALLEST} is the least.")
    if size_hw[0] % 2 or size_hw[1] % 2:
        raise UsageError(f"A video needs an even height and width, not {size_hw[0]}x{size_hw[1]}.")


def _parts(root: Path, seed: int, good: int, test_good: int, defects_per_kind: int) -> list[list[_Part]]:
    """The parts of each folder of photos; the folders are made."""
    folders = [
        _good_parts(root / "train" / "good", (seed, _TRAIN), good),
        _good_parts(root / "test" / "good", (seed, _TEST_GOOD), test_good),
    ]
    for number, kind in enumerate(DEFECT_KINDS):
        folders.append(_defective_parts(root, kind, (seed, _TEST_DEFECTIVE, number), defects_per_kind))
    return folders


def _good_parts(folder: Path, key: tuple[int, ...], count: int) -> list[_Part]:
    folder.mkdir(parents=True)
    return [_Part((*key, index), "good", folder / f"{index:03d}.png") for index in range(count)]


def _defective_parts(root: Path, kind: str, key: tuple[int, ...], count: int) -> list[_Part]:
    photos, masks = root / "test" / kind, root / "ground_truth" / kind
    photos.mkdir(parents=True)
    masks.mkdir(parents=True)
    return [
        _Part((*key, index), kind, photos / f"{index:03d}.png", masks / f"{index:03d}_mask.png")
        for index in range(count)
    ]


def _recordings(folders: list[list[_Part]]) -> Iterator[list[_Part]]:
    for parts in folders:
        for first in range(0, len(parts), _PARTS_PER_RECORDING):
            yield parts[first : first + _PARTS_PER_RECORDING]


def _take_all(recordings: Iterable[list[_Part]], size_hw: tuple[int, int]) -> None:
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # rendering and encoding release the lock
        for _ in pool.map(lambda parts: _take_photos(parts, size_hw), recordings):
            pass


def _take_photos(parts: Sequence[_Part], size_hw: tuple[int, int]) -> None:
    """Record parts in sequence, and keep one frame of each."""
    rng = np.random.default_rng([*parts[0].key, _CAMERA])
    kept = rng.integers(_FRAMES_PER_PART, size=len(parts))
    camera = Camera.draw(rng)
    recording = record(((_seen(part, size_hw), _FRAMES_PER_PART) for part in parts), size_hw, camera, rng)
    for number, frame in enumerate(frames_of(recording)):
        part, position = divmod(number, _FRAMES_PER_PART)
        if position == kept[part]:
            _write(parts[part].photo, frame)


def _seen(part: _Part, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """The scene of a part, float32 (h, w, 3); writes the mask of its defect."""
    scene = Scene(part.key, size_hw, has_dot=part.has_dot)
    if part.mask is None:
        return scene.good()
    seen, mask = scene.defective(part.kind)
    _write(part.mask, mask.astype(np.uint8) * np.uint8(255))
    return seen


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    # Written by Python, which reports why a write fails; OpenCV would not.
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
