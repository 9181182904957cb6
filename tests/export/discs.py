"""A product to train on: a dozen discs with a little noise."""

from pathlib import Path

import cv2
import numpy as np

__all__ = ["draw_discs"]


def draw_discs(folder: Path) -> Path:
    """Fourteen photos of 64 × 64 pixels in a new folder."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for index in range(14):
        image = np.full((64, 64, 3), 90, np.uint8)
        cv2.circle(image, (int(rng.integers(28, 36)), int(rng.integers(28, 36))), 18, (200, 160, 120), -1)
        noisy = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
        assert cv2.imwrite(str(folder / f"{index:02d}.png"), noisy)
    return folder
