"""Fixtures of the model tests: tiny images, one thread, the same random numbers every time."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from edge_ad.models.unet import WIDTHS


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="session")
def images() -> Tensor:
    """Four smooth coloured images with a little texture, (4, 3, 64, 64) in [0, 1]."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(4, 3, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (64, 64), mode="bilinear", align_corners=True)
    return (0.9 * smooth + 0.1 * torch.rand(4, 3, 64, 64, generator=generator)).clamp(0, 1)


@pytest.fixture(scope="module")
def _narrow() -> Iterator[None]:
    """The ``pico`` U-Net with a sixteenth of its weights, so that tests may train it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(WIDTHS, "pico", WIDTHS["pico"]._replace(channels=(8, 16, 32)))
        yield
