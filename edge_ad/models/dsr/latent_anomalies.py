"""Anomalies in the quantised space: under a mask, codes give way to others that are not among the nearest."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.models.dsr.autoencoder import Latents, TwoLevelAutoencoder
from edge_ad.models.dsr.quantisation import Codebook

__all__ = ["anomalous_latents", "cells", "draw_strengths", "replace_codes"]

_NEAREST_SHARE = 0.05


def cells(masks: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Cells of a grid that a mask touches: float (N, 1, H, W) → (N, 1, h, w), where h divides H and w divides W."""
    stride = (masks.shape[2] // size_hw[0], masks.shape[3] // size_hw[1])
    return F.max_pool2d(masks, stride)


def draw_strengths(count: int, least: float, generator: torch.Generator) -> Tensor:
    """Anomaly strengths λs, uniform in [least, 1): float32 (count,)."""
    return torch.rand(count, generator=generator) * (1 - least) + least


def replace_codes(
    latents: Tensor, quantised: Tensor, book: Codebook, mask: Tensor, strengths: Tensor, generator: torch.Generator
) -> Tensor:
    """Replace the codes of masked cells by codes of a random rank of distance.

    With the codes of a cell in the order of their distance, its rank is uniform from 5 % of all up to the strength's
    share of all: the nearest ones would change nothing, and a strength near 1 admits nearly every code.

    Args:
        latents: (N, C, h, w) that the distances are measured from, not quantised.
        quantised: (N, C, h, w), what stays outside the mask.
        book: Its codes.
        mask: float (N, 1, h, w), 1 where to replace.
        strengths: λs of each image, (N,) in (0.05, 1].
        generator: On the CPU; draws the ranks.

    Returns:
        (N, C, h, w).
    """
    chosen = mask[:, 0] > 0
    codes = book.get_buffer("codes")
    first = int(len(codes) * _NEAREST_SHARE)
    last = (strengths * len(codes)).int().add(1).clamp(first + 1, max(first + 1, len(codes) - 1))
    spans = (last - first).to(chosen.device)[:, None, None].expand_as(chosen)[chosen]
    drawn = torch.rand(len(spans), generator=generator).to(spans.device)
    ranks = first + (drawn * spans).long().minimum(spans.long() - 1)
    order = book.distances(latents).permute(0, 2, 3, 1)[chosen].argsort(1)
    replaced = quantised.permute(0, 2, 3, 1).clone()
    replaced[chosen] = codes[order.gather(1, ranks[:, None])[:, 0]].to(replaced.dtype)
    return replaced.permute(0, 3, 1, 2)


@torch.no_grad()
def anomalous_latents(
    autoencoder: TwoLevelAutoencoder, images: Tensor, masks: Tensor, least: float, generator: torch.Generator
) -> tuple[Latents, Latents, Tensor]:
    """Quantised latents of good images, the same with anomalies, and where these are.

    In half of the images both levels change, in a quarter each one of them. Where both do, the fine level is computed
    from the changed coarse one before its own codes are replaced.

    Args:
        autoencoder: Frozen.
        images: (N, 3, H, W) in [0, 1].
        masks: float (N, 1, H, W), 1 where an anomaly is asked for.
        least: Smallest λs.
        generator: On the CPU; draws strengths, levels and codes.

    Returns:
        Good latents; anomalous latents; float (N, 1, H, W), 1 in every cell that a mask touches on the coarsest level
        that changed.
    """
    count, device = len(images), images.device
    strengths = [draw_strengths(count, least, generator) for _ in Latents._fields]
    both, coarse_alone = (torch.rand(2, count, generator=generator) < 0.5).to(device)[..., None, None, None]
    changes_coarse, changes_fine = both | coarse_alone, both | ~coarse_alone
    features = autoencoder.fine_encoder(images)
    coarse = autoencoder.coarse_latent(features)
    good_coarse = autoencoder.coarse_codes(coarse)
    coarse_mask = cells(masks, _grid(coarse))
    bad_coarse = replace_codes(
        coarse, good_coarse, autoencoder.coarse_codes, coarse_mask * changes_coarse, strengths[0], generator
    )
    good_fine = autoencoder.fine_codes(autoencoder.fine_latent(features, good_coarse))
    # The fine level changes with the coarse one only where its own codes change too.
    fine = autoencoder.fine_latent(features, torch.where(both, bad_coarse, good_coarse))
    fine_mask = cells(masks, _grid(fine))
    bad_fine = replace_codes(
        fine, autoencoder.fine_codes(fine), autoencoder.fine_codes, fine_mask * changes_fine, strengths[1], generator
    )
    size = images.shape[2:]
    where = torch.where(changes_coarse, F.interpolate(coarse_mask, size), F.interpolate(fine_mask, size))
    return Latents(good_coarse, good_fine), Latents(bad_coarse, bad_fine), where


def _grid(latents: Tensor) -> tuple[int, int]:
    return int(latents.shape[2]), int(latents.shape[3])
