"""What sees a codec: two measures at the photo's own resolution, on products' photos and on compressed copies.

    python -m benchmarks.codec_measures --data DIR/<product>...

- *flat*: share of pixels whose Laplacian is 0. A codec takes the last grey level of noise away.
- *blocks*: mean difference of neighbouring pixels at the most conspicuous of 8 places over that at the median one,
  along both axes. Blocks of 8 pixels show there.

Both look at the middle 256 by 256 pixels. Limits are of every second good photo, by the rule of the scene monitor in
its simplest form: the median ± 4 deviations. Prints, for held-out good photos and copies of them, the share of photos
outside, and a star where their median is outside, which is what the monitor would tell of.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data import line_shifts
from edge_ad.data.products import open_product
from edge_ad.images import read_image

_SIDE, _BLOCK = 256, 8
_PHOTOS, _HELD_OUT = 60, 20
_SPREADS, _MAD_TO_SIGMA = 4.0, 1.4826
_Image = NDArray[np.uint8]
_CHANGES: Mapping[str, Callable[[_Image], _Image]] = {
    "held out": lambda image: image,
    "JPEG 80": lambda image: line_shifts.jpeg(image, 80),
    "JPEG 50": lambda image: line_shifts.jpeg(image, 50),
    "H.264 crf 23": lambda image: line_shifts.h264(image, 23),
    "H.264 crf 28": lambda image: line_shifts.h264(image, 28),
    "noise 8": lambda image: line_shifts.noise(image, 8.0, seed=0),
}


def middle(image: _Image) -> _Image:
    """The middle of uint8 (H, W, 3) BGR in grey, 256 × 256 at most, aligned to blocks of 8."""
    height, width = (min(side, _SIDE) for side in image.shape[:2])
    top, left = (
        (whole - part) // 2 // _BLOCK * _BLOCK for whole, part in zip(image.shape[:2], (height, width), strict=True)
    )
    return np.asarray(cv2.cvtColor(image[top : top + height, left : left + width], cv2.COLOR_BGR2GRAY), np.uint8)


def flat_share(grey: _Image) -> float:
    """Share of the pixels of uint8 (h, w) whose Laplacian is 0."""
    return 1.0 - cv2.countNonZero(cv2.Laplacian(grey, cv2.CV_16S)) / grey.size


def blockiness(grey: _Image) -> float:
    """How far one of 8 places stands out in the differences of neighbours of uint8 (h, w); 1 where none does."""
    return float(np.mean([_outstanding(grey, axis) for axis in (0, 1)]))


def _outstanding(grey: _Image, axis: int) -> float:
    steps = np.abs(np.diff(grey.astype(np.int16), axis=axis)).mean(1 - axis)
    places = steps[: len(steps) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).mean(0)
    return float(places.max() / max(np.median(places), 1e-3))


_MEASURES: Mapping[str, Callable[[_Image], float]] = {"flat": flat_share, "blocks": blockiness}


def row(photos: Sequence[_Image], measure: Callable[[_Image], float]) -> list[str]:
    """Share of held-out photos outside the limits of the others, as they are and changed; a star as above."""
    fitted = np.array([measure(middle(photo)) for photo in photos[::2]])
    centre = np.median(fitted)
    spread = _SPREADS * _MAD_TO_SIGMA * float(np.median(np.abs(fitted - centre)))
    cells = []
    for change in _CHANGES.values():
        found = np.array([measure(middle(change(photo))) for photo in photos[1::2][:_HELD_OUT]])
        star = "*" if abs(np.median(found) - centre) > spread else ""
        cells.append(f"{(np.abs(found - centre) > spread).mean():.2f}{star}")
    return cells


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    given = parser.parse_args()
    print(f"| product | measure | {' | '.join(_CHANGES)} |\n|---|---|{'--:|' * len(_CHANGES)}")
    for root in given.data:
        photos = [read_image(path) for path in open_product(root).good[:_PHOTOS]]
        for name, measure in _MEASURES.items():
            print(f"| `{root.name}` | {name} | {' | '.join(row(photos, measure))} |", flush=True)


if __name__ == "__main__":
    main()
