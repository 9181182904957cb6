"""The scene monitor on products' photos: false events on a line that stays, and how soon a change is told.

    python -m benchmarks.scene_monitor --data DIR/<product>... --parts 200

Limits are of every second good photo. The line shows the others, test photos of good parts, and for three parts in ten
test photos of defects, in random order, each for half a second at 30 frames a second. After as many parts again the
scene changes. Prints a table in Markdown: for each change the parts from there to its event.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad.data import line_shifts
from edge_ad.data.products import open_product
from edge_ad.data.samples import Product
from edge_ad.images import read_resized
from edge_ad.scene import SceneLimits, SceneMeasures, SceneReading, measure_scene
from edge_ad.streaming.verdicts.scene import SceneMonitor

_SIZE_HW = (256, 256)
_DEFECTIVE = 0.3
_FRAMES, _FPS = 15, 30.0
_Change = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
_CHANGES: dict[str, _Change] = {
    "gain 0.8": lambda image: line_shifts.gain(image, 0.8),
    "gain 1.25": lambda image: line_shifts.gain(image, 1.25),
    "blur 1.5 px": lambda image: line_shifts.blur(image, 1.5),
    "noise 8": lambda image: line_shifts.noise(image, 8.0, seed=0),
    "red/blue 1.2": lambda image: line_shifts.white_balance(image, 1.2),
    "JPEG 50": lambda image: line_shifts.jpeg(image, 50),
    "H.264 crf 28": lambda image: line_shifts.h264(image, 28),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--parts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print(f"| product | false events in {asked.parts} parts | {' | '.join(_CHANGES)} |")
    print(f"|---|{'--:|' * (1 + len(_CHANGES))}")
    for root in asked.data:
        print(f"| `{root.name}` | {' | '.join(_row(open_product(root), asked.parts, asked.seed))} |", flush=True)


def _row(product: Product, parts: int, seed: int) -> list[str]:
    limits = SceneLimits.of(map(measure_scene, read_resized(product.good[::2], _SIZE_HW)))
    assert limits is not None, "too few photos"
    good = [*product.good[1::2], *(sample.path for sample in product.test if not sample.is_defective)]
    defective = [sample.path for sample in product.test if sample.is_defective]
    photos = read_resized([*good, *defective], _SIZE_HW)
    chance = np.random.default_rng(seed)
    is_defective = chance.random(2 * parts) < _DEFECTIVE
    order = np.where(is_defective, len(good) + chance.integers(0, len(defective), 2 * parts), 0)
    order[~is_defective] = chance.integers(0, len(good), int((~is_defective).sum()))
    usual = [measure_scene(photo) for photo in photos]
    before = [usual[index] for index in order[:parts]]
    cells = [str(len(_events(before, limits)))]
    for change in _CHANGES.values():
        after = [measure_scene(change(photo)) for photo in photos]
        told = _events([*before, *(after[index] for index in order[parts:])], limits)
        later = [part - parts for part in told if part >= parts]
        cells.append(str(later[0] + 1) if later else "not told")
    return cells


def _events(parts: Sequence[SceneMeasures], limits: SceneLimits) -> list[int]:
    """Number of the part at each event that tells of a change."""
    monitor, told = SceneMonitor(), []
    for number in range(len(parts) * _FRAMES):
        part = number // _FRAMES
        found = monitor.update(SceneReading(parts[part], limits), number / _FPS)
        if found is not None and monitor.changed:
            told.append(part)
    return told


if __name__ == "__main__":
    main()
