"""Where CutPaste cuts and pastes (Li et al., 2021): a large rectangle, or a thin, turned scar.

Positions are in pixels from the top left corner; the middle of the first pixel is (0.5, 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "AREA",
    "ASPECT",
    "SCAR_ANGLE",
    "SCAR_LENGTH",
    "SCAR_WIDTH",
    "Patch",
    "draw_rectangle",
    "draw_scar",
    "jitter_colour",
    "paste",
]

_THIRD = 1 / 3
_ROOT = 1 / math.sqrt(3)
AREA = (0.02, 0.15)
"""Share of the image that a rectangle covers."""
ASPECT = (0.3, 3.3)
"""Width of a rectangle over its height."""
SCAR_WIDTH = (2.0, 16.0)
"""Pixels of an image of 256."""
SCAR_LENGTH = (10.0, 25.0)
"""Pixels of an image of 256."""
SCAR_ANGLE = 45.0
"""Degrees, to both sides."""

_REFERENCE_SIDE = 256
_LEVELS = 255

Interval: TypeAlias = tuple[float, float]


def jitter_colour(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Change the colours of each image a little.

    Saturation and hue stretch and turn colours about the grey axis; contrast keeps the image's mean grey.

    Args:
        images: (N, 3, H, W) in [0, 1].
        strength: Largest relative change of brightness, contrast and saturation, and of hue in turns; 0 for none.
        generator: On the CPU.

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    if not strength:
        return images
    draws = (torch.rand(4, len(images), generator=generator) * 2 - 1) * strength
    brightness, contrast, saturation, hue = draws.to(images)[..., None, None]
    turn = 2 * math.pi * hue
    grey = images.new_full((3, 3), _THIRD)
    chroma = torch.eye(3, device=images.device, dtype=images.dtype) - grey
    across = images.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) * _ROOT
    matrix = grey + (1 + saturation) * (turn.cos() * chroma + turn.sin() * across)
    coloured = torch.einsum("nij,njhw->nihw", matrix, images)
    mean = images.mean((1, 2, 3), keepdim=True)
    contrasted = mean + (1 + contrast[..., None]) * (coloured - mean)
    brightened: Tensor = (1 + brightness[..., None]) * contrasted
    return brightened.clamp(0, 1)


class Patch(NamedTuple):
    """A rectangle of an image that is put elsewhere.

    Attributes:
        size_hw: Height and width before it is turned, pixels.
        angle: By which it is turned when pasted, radians.
        source: Its middle where it is cut, (y, x).
        target: Its middle where it is pasted, (y, x).
    """

    size_hw: tuple[float, float]
    angle: float
    source: tuple[float, float]
    target: tuple[float, float]


def draw_rectangle(size_hw: tuple[int, int], generator: torch.Generator) -> Patch:
    """A rectangle of whole pixels; its area and aspect are within ``AREA`` and ``ASPECT`` as rounded.

    Args:
        size_hw: Of the image, at least 32 pixels each.
        generator: On the CPU.
    """
    height, width = _rectangle_hw(size_hw, generator)
    source, target = (
        tuple(
            int(_uniform((0, whole - part + 1), generator)) + part / 2
            for whole, part in zip(size_hw, (height, width), strict=True)
        )
        for _ in range(2)
    )
    return Patch((height, width), 0.0, (source[0], source[1]), (target[0], target[1]))


def draw_scar(size_hw: tuple[int, int], generator: torch.Generator) -> Patch:
    """A scar, in proportion to the image and at least a pixel each way; all of it lies within the image.

    Args:
        size_hw: Of the image, at least 32 pixels each.
        generator: On the CPU.
    """
    scale = min(size_hw) / _REFERENCE_SIDE
    height, width = (max(1.0, scale * _uniform(limits, generator)) for limits in (SCAR_LENGTH, SCAR_WIDTH))
    angle = math.radians(_uniform((-SCAR_ANGLE, SCAR_ANGLE), generator))
    cos, sin = math.cos(angle), abs(math.sin(angle))
    turned = (height * cos + width * sin, width * cos + height * sin)
    source = _pixel_centre(size_hw, (height, width), generator)
    return Patch((height, width), angle, source, _pixel_centre(size_hw, turned, generator))


def paste(
    images: Tensor, patches: list[Patch], change: Callable[[Tensor], Tensor] = lambda content: content
) -> tuple[Tensor, Tensor]:
    """Cut a patch out of each image and put it elsewhere in the same image.

    What is pasted is rounded to the levels of a camera, so that nothing but its place and colour gives it away.

    Args:
        images: (N, 3, H, W) in [0, 1].
        patches: N.
        change: What becomes of the images (N, 3, H, W) that the patches are cut from.

    Returns:
        The images, and bool (N, 1, H, W) masks of the pixels that were pasted on.
    """
    along_y, along_x = _offsets(images, patches)
    size, source = (images.new_tensor([getattr(x, name) for x in patches]) for name in ("size_hw", "source"))
    inside = (along_y.abs() < size[:, 0, None, None] / 2) & (along_x.abs() < size[:, 1, None, None] / 2)
    height, width = images.shape[2:]
    sampled = torch.stack(
        [
            (source[:, 1, None, None] + along_x) * (2 / width) - 1,
            (source[:, 0, None, None] + along_y) * (2 / height) - 1,
        ],
        dim=3,
    )
    content = F.grid_sample(change(images), sampled, mode="bilinear", padding_mode="border", align_corners=False)
    masks = inside[:, None]
    return torch.where(masks, (content * _LEVELS).round() / _LEVELS, images), masks


def _offsets(images: Tensor, patches: list[Patch]) -> tuple[Tensor, Tensor]:
    """Where each pixel lies in its patch before that was turned, from the middle: (N, H, W) down and to the right."""
    target = images.new_tensor([patch.target for patch in patches])
    angle = images.new_tensor([patch.angle for patch in patches])[:, None, None]
    down, right = (
        torch.arange(side, device=images.device, dtype=images.dtype)[None] + 0.5 - target[:, axis, None]
        for axis, side in enumerate(images.shape[2:])
    )
    dy, dx = down[:, :, None], right[:, None, :]
    return angle.cos() * dy - angle.sin() * dx, angle.sin() * dy + angle.cos() * dx


def _rectangle_hw(size_hw: tuple[int, int], generator: torch.Generator) -> tuple[int, int]:
    """Rounding may leave the limits: then another is drawn."""
    whole = size_hw[0] * size_hw[1]
    while True:
        area, wide = _uniform(AREA, generator) * whole, _uniform((0, 1), generator) < 0.5
        aspect = _uniform((1.0, ASPECT[1]) if wide else (ASPECT[0], 1.0), generator)
        height, width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        fits = height <= size_hw[0] and width <= size_hw[1]
        if fits and AREA[0] <= height * width / whole <= AREA[1] and ASPECT[0] <= width / height <= ASPECT[1]:
            return height, width


def _pixel_centre(
    size_hw: tuple[int, int], extent_hw: tuple[float, float], generator: torch.Generator
) -> tuple[float, float]:
    """The middle of a pixel that something of this extent may be centred on."""
    y, x = (
        int(_uniform((math.ceil(extent / 2 - 0.5), math.floor(side - extent / 2 - 0.5) + 1), generator)) + 0.5
        for side, extent in zip(size_hw, extent_hw, strict=True)
    )
    return y, x


def _uniform(limits: Interval, generator: torch.Generator) -> float:
    low, high = limits
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))
