"""The tokens that a Vision Transformer of ``transformers`` begins with, for one size of image."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FixedTokens", "patch_size", "stride_of_patch"]

_PROJECTIONS = ("patch_embeddings", "patch_embedding")  # DINO's and most others' name, and CLIP's


def patch_size(vit: nn.Module) -> int:
    """Side of its patches, pixels."""
    config: Any = vit.config
    return int(config.patch_size)


def stride_of_patch(patch: int) -> int:
    """Pixels of the image that a patch stands for: the power of two that is not below its size."""
    return 1 << (patch - 1).bit_length()


class FixedTokens(nn.Module):
    """``tokens(image) = patches(image) + constants``, as an exported graph computes it.

    Class token, registers and positions do not depend on the image. Repeated for each image of a batch, as
    ``transformers`` does, they would fix the batch of an exported graph, and the interpolation of positions would be
    done again for every image.

    Args:
        embeddings: The ``embeddings`` of a Vision Transformer; its weights are shared.
        size_hw: Height and width of the images, pixels.
    """

    def __init__(self, embeddings: nn.Module, size_hw: tuple[int, ...]) -> None:
        super().__init__()
        name = next(name for name in _PROJECTIONS if hasattr(embeddings, name))
        self.add_module(name, embeddings.get_submodule(name))
        self._projection = name
        wants_size = "interpolate_pos_encoding" in inspect.signature(embeddings.forward).parameters
        with torch.no_grad():
            zeros = torch.zeros(1, 3, *size_hw)
            constants = embeddings(zeros, **({"interpolate_pos_encoding": True} if wants_size else {}))
            patches = self._patches(zeros)
            self.prefix = constants.shape[1] - patches.shape[1]
            constants = constants - F.pad(patches, (0, 0, self.prefix, 0))
        self.register_buffer("constants", constants, persistent=False)

    def forward(self, pixel_values: Tensor, **options: Any) -> Tensor:
        """Standardised pixels (N, 3, H, W) → tokens (N, T, C); options of ``transformers`` are known already."""
        # Room for the first tokens is padded: a token repeated for each image would fix the batch of an exported graph.
        return F.pad(self._patches(pixel_values), (0, 0, self.prefix, 0)) + self.get_buffer("constants")

    def _patches(self, pixels: Tensor) -> Tensor:
        projected: Tensor = self.get_submodule(self._projection)(pixels)
        return projected.flatten(2).transpose(1, 2) if projected.dim() == 4 else projected
