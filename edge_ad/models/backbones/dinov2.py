"""DINOv2's small Vision Transformer as a frozen feature map (Oquab et al., 2023, "DINOv2").

Its patches are 14 pixels wide. So that its grid is that of the other backbones, the image is first brought to 14 pixels
for each 16 (stride 16) or each 8 (stride 8, at four times the cost and more). The features are the patch tokens after
the last layer norm, as AnomalyDINO takes them (Damm et al., 2024). Architecture and weights are those of
``transformers``, which is imported when the backbone is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.errors import CheckpointError, UsageError, require
from edge_ad.models.backbones.base import Backbone, read_weights
from edge_ad.models.feature_matching import MatchingKind

__all__ = ["DinoV2Small"]

_HUB_NAME = "facebook/dinov2-small"
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_PATCH = 14
_WIDTH = 384
_TRAINED_SIZE = 518
_CUBIC = -0.75  # the parameter of the kernel, as in torch
_HINT = "Give weights=FOLDER, one that save_pretrained wrote, or the name of a DINOv2 of this size on the hub."


class DinoV2Small(Backbone):
    """ViT-S/14 without registers.

    Args:
        levels: One stride, 8 or 16.
    """

    level_channels: ClassVar[Mapping[int, int]] = {8: _WIDTH, 16: _WIDTH}
    default_levels: ClassVar[tuple[int, ...]] = (16,)
    has_one_level: ClassVar[bool] = True

    def __init__(self, levels: tuple[int, ...] = (16,)) -> None:
        super().__init__(levels)
        transformers = require("transformers", extra="dino")
        config = transformers.Dinov2Config(
            hidden_size=_WIDTH, num_attention_heads=6, image_size=_TRAINED_SIZE, patch_size=_PATCH, use_mask_token=False
        )
        config._attn_implementation = "eager"  # what an export writes out anyway
        self.vit = transformers.Dinov2Model(config)
        self.register_buffer("mean", torch.tensor(_MEAN)[None, :, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[None, :, None, None], persistent=False)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The patch tokens as a map, (N, 384, H / stride, W / stride)."""
        grid_hw = (images.shape[2] // self.levels[0], images.shape[3] // self.levels[0])
        pixels = (images - self.get_buffer("mean")) / self.get_buffer("std")
        size = (grid_hw[0] * _PATCH, grid_hw[1] * _PATCH)
        pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False)
        embeddings = self.vit.embeddings
        first = embeddings.cls_token + embeddings.position_embeddings[:, :1]
        # Room for the class token is padded: a token repeated for each image would fix the batch of an exported graph.
        tokens = F.pad(embeddings.patch_embeddings(pixels), (0, 0, 1, 0))
        encoded = self.vit.encoder(tokens + torch.cat([first, self._positions(grid_hw)], 1)).last_hidden_state
        patches = self.vit.layernorm(encoded)[:, 1:]
        return [patches.transpose(1, 2).unflatten(2, grid_hw)]

    def _positions(self, grid_hw: tuple[int, int]) -> Tensor:
        """Of the patches, (1, h·w, 384), brought to this grid bicubically: by products, which every backend folds."""
        side = _TRAINED_SIZE // _PATCH
        known = self.vit.embeddings.position_embeddings[0, 1:].reshape(side, -1)
        rows, columns = (torch.from_numpy(_bicubic_matrix(length, side)) for length in grid_hw)
        by_row = (rows.to(known) @ known).reshape(grid_hw[0], side, _WIDTH)
        positions: Tensor = (columns.to(known) @ by_row).reshape(1, -1, _WIDTH)
        return positions

    def add_matching(
        self, kind: MatchingKind, levels: Sequence[int], *, size_hw: tuple[int, int], share: float = 0.5
    ) -> None:
        """Refused: there is one level, which nothing is computed from.

        Raises:
            UsageError: Always.
        """
        raise UsageError("dinov2-small has no levels to match.", "Leave matching out, or take another backbone.")

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Load a state dict in the names of transformers' ``Dinov2Model``; see `Backbone.load_published`."""
        own = self.vit.state_dict()
        for name, tensor in own.items():
            if name not in weights:
                raise CheckpointError(f"{name} is missing.", _HINT)
            if weights[name].shape != tensor.shape:
                found, expected = tuple(weights[name].shape), tuple(tensor.shape)
                raise CheckpointError(f"{name} has the shape {found}, not {expected}.", _HINT)
            if not bool(weights[name].isfinite().all()):
                raise CheckpointError(f"{name} holds values that are not finite.", _HINT)
        self.vit.load_state_dict({name: weights[name] for name in own})

    @classmethod
    def imagenet_weights(cls) -> dict[str, Tensor]:
        """The published weights, of LVD-142M and not of ImageNet, from the hub; see `Backbone.imagenet_weights`."""
        return cls.read_published(_HUB_NAME)

    @classmethod
    def read_published(cls, source: str) -> dict[str, Tensor]:
        """A state dict from a file, a folder of ``save_pretrained``, or the hub.

        Raises:
            CheckpointError: Nothing can be read from there, or it is no DINOv2.
        """
        if Path(source).is_file():
            return read_weights(Path(source))
        transformers = require("transformers", extra="dino")
        failure = CheckpointError(f"DINOv2 cannot be loaded from {source!r}.", _HINT)
        try:
            model, info = transformers.Dinov2Model.from_pretrained(source, output_loading_info=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise failure from error
        if info["missing_keys"]:  # another architecture's weights would leave it at random ones, silently
            raise failure
        weights: dict[str, Tensor] = model.state_dict()
        return weights

    def draw_weights(self, seed: int) -> None:
        """Random weights that keep the scale of tokens: untrained, for tests alone."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.vit.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear", generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for tensor in (self.vit.embeddings.cls_token, self.vit.embeddings.position_embeddings):
            nn.init.normal_(tensor, std=0.02, generator=generator)


def _bicubic_matrix(length: int, source: int) -> NDArray[np.float32]:
    """What brings ``source`` values to ``length`` by bicubic interpolation as in torch, (length, source)."""
    places = (np.arange(length) + 0.5) * source / length - 0.5
    matrix = np.zeros((length, source))
    for row, place in enumerate(places):
        for index in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            matrix[row, min(max(index, 0), source - 1)] += _cubic(abs(place - index))
    return matrix.astype(np.float32)


def _cubic(distance: float) -> float:
    """Keys' kernel (1981)."""
    if distance <= 1:
        return (_CUBIC + 2) * distance**3 - (_CUBIC + 3) * distance**2 + 1
    return _CUBIC * (distance**3 - 5 * distance**2 + 8 * distance - 4) if distance < 2 else 0.0
