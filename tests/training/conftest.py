"""A product of a dozen noisy squares: enough to train on in a second."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_AD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """Flat folder of 12 good images, 64×64."""
    root = tmp_path / "squares"
    root.mkdir()
    rng = np.random.default_rng(0)
    for index in range(12):
        image = np.full((64, 64, 3), 90, np.uint8)
        image[16:48, 10 + index : 42 + index] = 180
        noise = rng.integers(0, 20, image.shape, dtype=np.uint8)
        cv2.imwrite(str(root / f"{index:02d}.png"), cv2.add(image, noise))
    return root
