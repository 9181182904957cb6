"""Visual obfuscation: the mosaic hint of EAR."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["mosaic", "obfuscate"]


def mosaic(images: Tensor, scale: int) -> Tensor:
    """Average tiles of ``scale`` × ``scale`` pixels: (N, C, H, W) → the same shape."""
    return F.interpolate(_tile_means(images, scale), scale_factor=float(scale), mode="nearest")


def obfuscate(images: Tensor, mask: Tensor, scale: int) -> Tensor:
    """EAR's input ``I' = (1 - M)·I + M·mosaic(I, m)``.

    Mask and mosaic stay on their coarse grids, and the image is seen as cells of the finer one of them: an engine then
    blends in one pass, without bringing either to full size.

    Args:
        images: (N, 3, H, W) in [0, 1].
        mask: (N, 1, h, w) in [0, 1], on a grid that divides the image or is divided by that of the tiles; 1 hides a
            pixel behind its mosaic.
        scale: Side of a mosaic tile, pixels; must divide H and W.
    """
    means = _tile_means(images, scale)
    rows, columns = (max(mask.shape[axis], means.shape[axis]) for axis in (2, 3))
    means, mask = (_on_grid(part, rows, columns)[:, :, :, None, :, None] for part in (means, mask))
    count, channels, height, width = images.shape
    cells = images.reshape(count, channels, rows, height // rows, columns, width // columns)
    return (cells + mask * (means - cells)).reshape(images.shape)


def _tile_means(images: Tensor, scale: int) -> Tensor:
    """(N, C, H, W) → (N, C, H / scale, W / scale); a pooling of three channels costs engines a change of layout."""
    count, channels, height, width = images.shape
    rows = images.reshape(count, channels, height, width // scale, scale).mean(4)
    return rows.reshape(count, channels, height // scale, scale, width // scale).mean(3)


def _on_grid(values: Tensor, rows: int, columns: int) -> Tensor:
    return values if tuple(values.shape[2:]) == (rows, columns) else F.interpolate(values, (rows, columns))
