"""Products: which images of a folder are good, which are test images, and where their masks are."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.images import IMAGE_SUFFIXES, read_image
from edge_ad.outside_text import printable

__all__ = ["Product", "Sample", "open_product", "read_mask"]

_LAYOUTS = "Give a folder of photos of good parts, or one with train/good (and test/<type>, ground_truth/<type>)."
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sample:
    """One test image.

    Attributes:
        path: The image file.
        is_defective: Whether the part has a defect.
        defect_type: Name of the defect's folder; ``"good"`` for a good part.
        mask_path: Mask of the defect; None for good parts and where nobody drew one.
    """

    path: Path
    is_defective: bool
    defect_type: str
    mask_path: Path | None


@dataclass(frozen=True)
class Product:
    """The images of one product.

    Attributes:
        name: Name of the folder.
        root: The folder.
        good: Images of good parts for training, sorted by path.
        test: Test images, sorted by type and path; empty for a flat folder.
        skipped: Unreadable files that were left out because that was asked for.
    """

    name: str
    root: Path
    good: tuple[Path, ...]
    test: tuple[Sample, ...]
    skipped: tuple[Path, ...] = ()


def open_product(root: Path, *, skip_unreadable: bool = False) -> Product:
    """Open a folder of images and check that every one can be decoded.

    Two layouts are known: MVTec (``train/good``, ``test/<type>``, ``ground_truth/<type>/<name>_mask.png`` or
    ``<name>.png``), and a flat folder of photos of good parts.

    Args:
        root: The folder.
        skip_unreadable: Leave unreadable files out, and log each of them, instead of raising.

    Raises:
        DataError: No such folder, no images in it, or unreadable images.
    """
    if not root.is_dir():
        raise DataError(f"No such folder: {root}.", _LAYOUTS)
    name = root.resolve().name
    if (root / "train" / "good").is_dir():
        product = Product(name, root, _images_in(root / "train" / "good"), _test_samples(root))
    else:
        product = Product(name, root, _images_in(root), ())
    if not product.good:
        raise DataError(f"No images of good parts in {root}.", _layout_hint(root))
    return _without_unreadable(product, skip=skip_unreadable)


def read_mask(sample: Sample, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Read the mask of a test image.

    Args:
        sample: The test image.
        size_hw: Height and width of the result, in pixels.

    Returns:
        bool (h, w), True where the defect is; all False for a good part.

    Raises:
        DataError: A defective sample without a mask, or a mask that cannot be decoded.
    """
    if not sample.is_defective:
        return np.zeros(size_hw, np.bool_)
    if sample.mask_path is None:
        raise DataError(f"No mask for the defective image {sample.path}.")
    mask = (read_image(sample.mask_path).max(axis=2) > 127).astype(np.uint8)
    resized = cv2.resize(mask, size_hw[::-1], interpolation=cv2.INTER_NEAREST)
    if mask.any() and not resized.any():  # nearest-neighbour sampling jumped over a very small defect
        resized = cv2.resize(mask.astype(np.float32), size_hw[::-1], interpolation=cv2.INTER_AREA) > 0
    return np.asarray(resized, np.bool_)


def _images_in(folder: Path) -> tuple[Path, ...]:
    files = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    # Hidden files are left out: macOS writes "._photo.jpg" beside photo.jpg on foreign disks.
    return tuple(sorted(path for path in files if path.is_file() and not path.name.startswith(".")))


def _test_samples(root: Path) -> tuple[Sample, ...]:
    test = root / "test"
    folders = sorted(path for path in test.iterdir() if path.is_dir()) if test.is_dir() else []
    return tuple(_sample(root, folder.name, path) for folder in folders for path in _images_in(folder))


def _sample(root: Path, defect_type: str, path: Path) -> Sample:
    if defect_type == "good":
        return Sample(path, False, defect_type, None)
    folder = root / "ground_truth" / defect_type
    candidates = [folder / f"{path.stem}_mask.png", folder / f"{path.stem}.png"]
    return Sample(path, True, defect_type, next((mask for mask in candidates if mask.is_file()), None))


def _layout_hint(root: Path) -> str:
    inner = sorted(path.parent.parent.name for path in root.glob("*/train/good"))
    return f"It holds products; give one of them: {', '.join(inner[:5])}." if inner else _LAYOUTS


def _without_unreadable(product: Product, *, skip: bool) -> Product:
    masks = [sample.mask_path for sample in product.test if sample.mask_path]
    files = [*product.good, *(sample.path for sample in product.test), *masks]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # decoding releases the interpreter lock
        problems = {path: problem for path, problem in zip(files, pool.map(_problem, files), strict=True) if problem}
    if not problems:
        return product
    if not skip:
        raise _unreadable(product, problems, len(files))
    for problem in problems.values():
        _log.warning("Skipped: %s", printable(str(problem)))
    return _left_over(product, set(problems))


def _problem(path: Path) -> str | None:
    try:
        read_image(path)
    except DataError as error:
        return error.message
    return None


def _unreadable(product: Product, problems: dict[Path, str], total: int) -> DataError:
    names = [str(path.relative_to(product.root)) for path in problems]
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return DataError(
        f"{len(names)} of {total} image files in {product.root} cannot be read: {shown}.",
        "Replace them, or leave them out with --skip-unreadable.",
    )


def _left_over(product: Product, unreadable: set[Path]) -> Product:
    good = tuple(path for path in product.good if path not in unreadable)
    test = tuple(sample for sample in product.test if not {sample.path, sample.mask_path} & unreadable)
    if not good:
        raise DataError(f"None of the {len(product.good)} images of good parts in {product.root} can be read.")
    return replace(product, good=good, test=test, skipped=tuple(sorted(unreadable)))
