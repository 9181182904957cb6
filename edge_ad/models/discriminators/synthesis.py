"""Anomalies made in feature space: noise, rays from a centre, a step up the loss, and shuffled patches."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["add_noise", "along_ray", "at_distance", "draw_similar", "far_apart", "nudge", "shuffle"]

_TINY = 1e-12  # keeps the direction of a vector of length zero finite


def add_noise(normal: Tensor, deviation: float | Tensor, generator: torch.Generator) -> Tensor:
    """SimpleNet: ``u + ε``, ε normal with standard deviation ``deviation`` in every dimension."""
    noise = torch.randn(normal.shape, generator=generator, dtype=normal.dtype).to(normal.device)
    fake: Tensor = normal + deviation * noise
    return fake


def along_ray(normal: Tensor, centre: Tensor, degree: float) -> Tensor:
    """PBAS eq. 7: ``u + (u - c)/|u - c| · mean|u - c| · k``, the offset without a gradient.

    Args:
        normal: u, (..., C).
        centre: c of each, (..., C).
        degree: k, the share of the mean distance that an anomaly lies farther out.
    """
    outwards = (normal - centre).detach()
    distance = outwards.norm(dim=-1, keepdim=True)
    fake: Tensor = normal + outwards / distance.clamp_min(_TINY) * distance.mean() * degree
    return fake


def nudge(normal: Tensor, gradient: Tensor, step: float | Tensor) -> Tensor:
    """Boundary shuffling eq. 2: ``u + α g/|g|``, the direction in which the detection loss grows.

    Args:
        normal: u, (..., C).
        gradient: g, (..., C).
        step: α.
    """
    return torch.addcmul(normal, gradient, step / gradient.norm(dim=-1, keepdim=True).clamp_min(_TINY))


def at_distance(moved: Tensor, centre: Tensor, distance: Tensor) -> Tensor:
    """Boundary shuffling eq. 3: ``c + (ũ - c) t/|ũ - c|``.

    Args:
        moved: ũ, (..., C).
        centre: c of each, (..., C).
        distance: t of each, (..., 1).
    """
    outwards = moved - centre
    return torch.addcmul(centre, outwards, distance / outwards.norm(dim=-1, keepdim=True).clamp_min(_TINY))


def draw_similar(patches: Tensor, candidates: int, generator: torch.Generator, distant: Tensor | None = None) -> Tensor:
    """For each patch the most similar, by cosine, of a few others drawn from the same image.

    The paper asks for "semantically similar but spatially distant" partners and gives no rule; ours is this draw.

    Args:
        patches: (N, M, C).
        candidates: Others drawn for each patch; 1 ignores similarity.
        generator: Of the draw.
        distant: bool (N, M, M), which others are far enough away to be drawn, at least one for each patch; None for
            all others.

    Returns:
        int64 (N, M), index of the partner among the M; a patch is its own partner only when M is 1.
    """
    images, count, _ = patches.shape
    if distant is None:
        # Steps of 1 to M - 1 around the circle never come back to the patch itself.
        steps = torch.randint(1, max(2, count), (images, count, candidates), generator=generator).to(patches.device)
        drawn = (torch.arange(count, device=patches.device)[None, :, None] + steps) % count
    else:
        chances = torch.rand(images, count, count, generator=generator).to(patches.device) * distant
        most = chances.topk(min(candidates, count), dim=2)
        drawn = torch.where(most.values > 0, most.indices, most.indices[..., :1])  # fewer are far enough than asked for
    unit = torch.nn.functional.normalize(patches.detach(), dim=-1)
    similarity = (unit @ unit.transpose(1, 2)).gather(2, drawn)  # a product of all pairs is cheaper than fetching some
    nearest = similarity.argmax(-1, keepdim=True)
    return drawn.gather(2, nearest).squeeze(2)


def far_apart(positions: Tensor, grid_hw: tuple[int, int], share: float) -> Tensor:
    """Which patches of an image are far enough from each other to be partners.

    Args:
        positions: int64 (N, M), positions on the grid, row by row.
        grid_hw: Height and width of the grid.
        share: Least distance, as a share of the grid's longer side.

    Returns:
        bool (N, M, M); where none is far enough from a patch, the farthest is.
    """
    width = grid_hw[1]
    places = torch.stack([positions // width, positions % width], dim=-1).float()
    distance = torch.cdist(places, places)
    return (distance >= share * max(grid_hw)) | (distance == distance.amax(2, keepdim=True))


def shuffle(patches: Tensor, partners: Tensor, mask: Tensor, strength: float) -> Tensor:
    """Boundary shuffling eq. 4: ``(1 - m) u + m ((1 - λ) u + λ u_j)``.

    Args:
        patches: u, (N, M, C).
        partners: j, (N, M), within the same image.
        mask: m, (N, M), 0 or 1.
        strength: λ in [0, 1].
    """
    others = patches.gather(1, partners[..., None].expand_as(patches))
    return torch.lerp(patches, others, strength * mask[..., None])
