"""The sample product: a folder of rendered photos in MVTec layout."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.products import Product, open_product
from edge_ad.data.sample_product.camera import take_photo
from edge_ad.data.sample_product.defects import DEFECT_KINDS
from edge_ad.data.sample_product.scene import Scene
from edge_ad.errors import UsageError
from edge_ad.storage import atomic_directory

__all__ = ["check_size", "render_product"]

_TRAIN, _TEST_GOOD, _TEST_DEFECTIVE, _CAMERA = range(4)
_SMALLEST = 64


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

    Args:
        root: New or empty folder; it is there completely or not at all.
        seed: Another seed gives other parts.
        good: Photos of good parts to train on.
        test_good: Photos of good parts to test with.
        defects_per_kind: Photos of each kind of defect.
        size_hw: Height and width of the photos, in pixels; at least 64.

    Returns:
        The opened product.

    Raises:
        UsageError: The folder is not empty, the size is too small, or no photos to train on are wanted.
        StorageError: The folder cannot be written.
    """
    check_size(size_hw)
    if good < 1:
        raise UsageError(f"At least 1 good photo is needed, not {good}.")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(f"{root} exists and is not an empty folder.", "Give a new folder.")
    with atomic_directory(root) as folder:
        _write_good(folder / "train" / "good", (seed, _TRAIN), good, size_hw)
        _write_good(folder / "test" / "good", (seed, _TEST_GOOD), test_good, size_hw)
        for number, kind in enumerate(DEFECT_KINDS):
            _write_defective(folder, kind, (seed, _TEST_DEFECTIVE, number), defects_per_kind, size_hw)
    return open_product(root)


def check_size(size_hw: tuple[int, int]) -> None:
    """Raise UsageError for a size at which the part cannot be recognised."""
    if min(size_hw) < _SMALLEST:
        raise UsageError(f"{size_hw[0]}x{size_hw[1]} is too small; {_SMALLEST}x{_SMALLEST} is the least.")


def _write_good(folder: Path, key: tuple[int, ...], count: int, size_hw: tuple[int, int]) -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        photo = Scene((*key, index), size_hw).good()
        _write(folder / f"{index:03d}.png", _stored(photo, (*key, index)))


def _write_defective(folder: Path, kind: str, key: tuple[int, ...], count: int, size_hw: tuple[int, int]) -> None:
    images, masks = folder / "test" / kind, folder / "ground_truth" / kind
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    for index in range(count):
        photo, mask = Scene((*key, index), size_hw).defective(kind)
        _write(images / f"{index:03d}.png", _stored(photo, (*key, index)))
        _write(masks / f"{index:03d}_mask.png", mask.astype(np.uint8) * np.uint8(255))


def _stored(photo: NDArray[np.float32], key: tuple[int, ...]) -> NDArray[np.uint8]:
    return take_photo(photo, np.random.default_rng([*key, _CAMERA]))


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    # Encoded here and written by Python, which says why when it fails; OpenCV would not.
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
