"""Data sets of a few small photos, in the published layouts."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["mvtec_like", "visa_like"]

_SIDE = 64
_GOOD, _TESTED = 9, 2


def mvtec_like(root: Path, categories: tuple[str, ...]) -> Path:
    """Categories as those of MVTec AD, MPDD and WFDD: nine photos to train on, two good and two defective ones."""
    for number, category in enumerate(categories):
        rng = np.random.default_rng(number)
        for index in range(_GOOD):
            _write(root / category / "train" / "good" / f"{index:03d}.png", _photo(rng))
        for index in range(_TESTED):
            _write(root / category / "test" / "good" / f"{index:03d}.png", _photo(rng))
            photo, mask = _with_defect(_photo(rng), rng)
            _write(root / category / "test" / "dent" / f"{index:03d}.png", photo)
            _write(root / category / "ground_truth" / "dent" / f"{index:03d}_mask.png", mask)
    return root


def visa_like(root: Path, categories: tuple[str, ...]) -> Path:
    """Categories as VisA's, with its split file."""
    rows = []
    for number, category in enumerate(categories):
        rng = np.random.default_rng(number)
        images, masks = f"{category}/Data/Images", f"{category}/Data/Masks/Anomaly"
        for index in range(_GOOD + _TESTED):
            name = f"{images}/Normal/{index:04d}.JPG"
            _write(root / name, _photo(rng))
            rows.append((category, "train" if index < _GOOD else "test", "normal", name, ""))
        for index in range(_TESTED):
            photo, mask = _with_defect(_photo(rng), rng)
            name, drawn = f"{images}/Anomaly/{index:03d}.JPG", f"{masks}/{index:03d}.png"
            _write(root / name, photo)
            _write(root / drawn, mask)
            rows.append((category, "test", "anomaly", name, drawn))
    (root / "split_csv").mkdir()
    with (root / "split_csv" / "1cls.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("object", "split", "label", "image", "mask"), *rows])
    return root


def _photo(rng: np.random.Generator) -> NDArray[np.uint8]:
    image = np.full((_SIDE, _SIDE, 3), 90, np.uint8)
    cv2.circle(image, (int(rng.integers(26, 38)), int(rng.integers(26, 38))), 16, (180, 150, 120), -1)
    return np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)


def _with_defect(image: NDArray[np.uint8], rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    mask = np.zeros((_SIDE, _SIDE), np.uint8)
    cv2.rectangle(mask, (20, 24), (36, 34 + int(rng.integers(4))), 255, -1)
    return np.where(mask[..., None] > 0, np.uint8(20), image), mask


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
