"""How far a student's levels are from the teacher's: as a loss, and as a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "CosineMap",
    "ScaleSum",
    "gaussian_matrix",
    "image_distance",
    "level_loss",
    "position_distance",
    "upsampling_matrix",
]

_LEAST_NORM = 1e-8
_TRUNCATE = 4.0  # standard deviations, as scipy has it


def image_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean over images of ``1 − cos``, each image's level flattened to one vector, as the authors' code has it.

    Args:
        a: (N, C, h, w).
        b: The same shape.

    Returns:
        Scalar in [0, 2].
    """
    return (1 - F.cosine_similarity(a.flatten(1), b.flatten(1))).mean()


def level_loss(teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
    """Sum over levels of `image_distance`, in float32."""
    with torch.autocast(student[0].device.type, enabled=False):
        distances = [image_distance(a.float(), b.float()) for a, b in zip(teacher, student, strict=True)]
        return torch.stack(distances).sum()


def position_distance(a: Tensor, b: Tensor) -> Tensor:
    """``1 − a·b / (|a|·|b|)`` at each position.

    Args:
        a: (N, C, h, w).
        b: The same shape.

    Returns:
        (N, 1, h, w) in [0, 2]; 1 where one of them is zero.
    """
    product, *squares = ((x * y).sum(1, keepdim=True) for x, y in ((a, b), (a, a), (b, b)))
    norms = squares[0].sqrt() * squares[1].sqrt()
    return 1 - product / norms.clamp_min(_LEAST_NORM)


def upsampling_matrix(size: int, cells: int) -> NDArray[np.float64]:
    """Bilinear interpolation along one axis whose first and last values stay the outermost (``align_corners``).

    Args:
        size: Values that it makes, 2 or more.
        cells: Values that it reads.

    Returns:
        (size, cells); rows sum to 1.
    """
    places = np.arange(size) * (cells - 1) / (size - 1)
    return np.asarray(np.maximum(0.0, 1 - np.abs(places[:, None] - np.arange(cells)[None])))


def gaussian_matrix(size: int, sigma: float) -> NDArray[np.float64]:
    """Gaussian filter along one axis, reflected about the edge of the border (``d c b a | a b c d | d c b a``).

    Args:
        size: Values along the axis.
        sigma: Standard deviation, in steps of the axis; the filter ends at four of them, rounded.

    Returns:
        (size, size); rows sum to 1.
    """
    radius = int(_TRUNCATE * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    inside = (np.arange(size)[:, None] + offsets) % (2 * size)
    inside = np.minimum(inside, 2 * size - 1 - inside)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], inside), weights / weights.sum())
    return matrix


class ScaleSum(nn.Module):
    """Sum over scales of maps that are brought to image size and smoothed.

    Both steps are linear and separable: ``Σ Aₖ Dₖ Aₖᵀ`` with ``Aₖ`` = Gaussian · interpolation, (H, hₖ). The left
    products of all scales are one product of the concatenated matrices.

    Args:
        size_hw: Height and width of the image and of the map, in pixels.
        strides: Of the scales.
        sigma: Of the smoothing, pixels; None leaves it out.
    """

    def __init__(self, size_hw: tuple[int, int], strides: Sequence[int], sigma: float | None) -> None:
        super().__init__()
        down, across = (_enlargements(side, strides, sigma) for side in size_hw)
        for index, matrix in enumerate(across):
            self.register_buffer(f"columns_{index}", matrix.T.contiguous().float(), persistent=False)
        self.register_buffer("rows", torch.cat(down, 1).float(), persistent=False)

    def enlarge(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, 1, h, w) in the order of the strides → (N, 1, H, W)."""
        across = [each @ self.get_buffer(f"columns_{index}") for index, each in enumerate(maps)]
        return self.get_buffer("rows") @ torch.cat(across, 2)


class CosineMap(ScaleSum):
    """Sum over levels of ``1 − cos``, brought to image size and smoothed.

    Args:
        size_hw: Height and width of the image and of the map, in pixels.
        strides: Of the levels.
        sigma: Of the smoothing, pixels.
    """

    def forward(self, teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
        """Levels (N, C, h, w) of both, in the order of the strides → (N, 1, H, W), at least 0."""
        return self.enlarge([position_distance(a, b) for a, b in zip(teacher, student, strict=True)])


def _enlargements(side: int, strides: Sequence[int], sigma: float | None) -> list[Tensor]:
    """Interpolation and smoothing along one axis for each scale, float64 (side, side / stride)."""
    smoothing = np.eye(side) if sigma is None else gaussian_matrix(side, sigma)
    return [torch.from_numpy(smoothing @ upsampling_matrix(side, side // stride)) for stride in strides]
