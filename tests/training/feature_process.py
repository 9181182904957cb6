"""A process that asks for features, for tests of two at once: python feature_process.py RESULT.npy [stop]."""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from torch import Tensor, nn

from edge_ad.training.feature_cache import cached_features


class Slow(nn.Module):
    """Takes its time."""

    def __init__(self, *, stops: bool = False) -> None:
        super().__init__()
        self._stops = stops
        self._batches = 0

    def forward(self, images: Tensor) -> Tensor:
        self._batches += 1
        if self._stops and self._batches == 2:
            print("half", flush=True)
            time.sleep(60)
        time.sleep(0.1)
        return images[:, :, ::8, ::8] * 3


def pictures(count: int = 20) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


if __name__ == "__main__":
    torch.set_num_threads(1)
    np.save(sys.argv[1], cached_features(Slow(stops=sys.argv[2:] == ["stop"]), pictures()).numpy())
