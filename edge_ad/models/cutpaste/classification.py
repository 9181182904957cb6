"""What CutPaste's classifiers are asked: is this normal, a rectangle, or a scar?"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.models.cutpaste.colour import jitter_colour
from edge_ad.models.cutpaste.patches import draw_rectangle, draw_scar, paste

__all__ = ["CLASSES", "IGNORED", "Views", "balanced_cross_entropy", "make_views", "window_labels"]

CLASSES = ("normal", "rectangle", "scar")
IGNORED = -100

Views = tuple[Tensor, Tensor, Tensor]
"""Images (3N, 3, H, W); their classes, int64 (3N,); bool (3N, 1, H, W) masks of what was pasted."""


@torch.no_grad()
def make_views(images: Tensor, jitter: float, generator: torch.Generator) -> Views:
    """Each image as it is, with a rectangle and with a scar.

    Args:
        images: (N, 3, H, W) in [0, 1].
        jitter: Strength of the colour jitter of what is pasted.
        generator: On the CPU; all follows from it.
    """
    size_hw = (images.shape[2], images.shape[3])
    views, masks = [images], [torch.zeros_like(images[:, :1], dtype=torch.bool)]
    for draw in (draw_rectangle, draw_scar):
        patches = [draw(size_hw, generator) for _ in images]
        view, mask = paste(images, patches, lambda content: jitter_colour(content, jitter, generator))
        views.append(view)
        masks.append(mask)
    classes = torch.arange(len(CLASSES), device=images.device).repeat_interleave(len(images))
    return torch.cat(views), classes, torch.cat(masks)


def window_labels(classes: Tensor, masks: Tensor, grid_hw: tuple[int, int], neighbourhood: int) -> Tensor:
    """Class of each window of feature cells.

    It is that of the image where something was pasted into the window's middle cell, normal where nothing was pasted
    into any of its cells, and ``IGNORED`` between.

    Args:
        classes: int64 (N,).
        masks: bool (N, 1, H, W).
        grid_hw: Cells, and so windows; they divide H and W.
        neighbourhood: Side of a window in cells, odd.

    Returns:
        int64 (N, h, w).
    """
    stride = masks.shape[2] // grid_hw[0]
    cells = F.max_pool2d(masks.float(), stride)
    touched = F.max_pool2d(cells, neighbourhood, 1, neighbourhood // 2)
    labels = torch.where(cells > 0, classes[:, None, None, None], torch.where(touched > 0, IGNORED, 0))
    return labels.squeeze(1)


def balanced_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the classes that occur of each one's mean cross-entropy: few windows are pasted on.

    Args:
        logits: (M, K).
        labels: int64 (M,); ``IGNORED`` ones do not count. At least one does.
    """
    losses = F.cross_entropy(logits, labels, reduction="none", ignore_index=IGNORED)
    present = [labels == kind for kind in range(logits.shape[1])]
    return torch.stack([losses[chosen].mean() for chosen in present if bool(chosen.any())]).mean()
