import cv2
import numpy as np
import pytest


@pytest.fixture
def write_image():
    """Write a small image of random pixels; another seed is another image."""

    def write(path, seed=0, shape=(24, 32, 3)):
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, shape, np.uint8))
        return path

    return write


@pytest.fixture
def mvtec(tmp_path, write_image):
    """Root of a product in MVTec layout: 3 good, 1 test good, 2 scratches (both kinds of mask name), 1 without mask."""
    root = tmp_path / "bolt"
    for index in range(3):
        write_image(root / "train" / "good" / f"{index}.png", index)
    write_image(root / "test" / "good" / "0.png", 10)
    for index in range(2):
        write_image(root / "test" / "scratch" / f"{index}.png", 20 + index)
    write_image(root / "test" / "unlabelled" / "0.png", 30)
    mask = np.zeros((24, 32), np.uint8)
    mask[4:8, 10:20] = 255
    folder = root / "ground_truth" / "scratch"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "0_mask.png"), mask)
    cv2.imwrite(str(folder / "1.png"), mask)
    return root
