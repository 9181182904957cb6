"""Backbones by name, and where their weights come from."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from edge_ad.errors import CheckpointError
from edge_ad.models.backbones.base import Backbone
from edge_ad.models.backbones.dinov2 import DinoV2Small
from edge_ad.models.backbones.efficientnet_lite import EfficientNetLite0, EfficientNetLite1, EfficientNetLite2
from edge_ad.models.backbones.resnet import ResNet18, ResNet50, ResNet101, WideResNet50

__all__ = ["BACKBONES", "BackboneName", "create_backbone"]

BackboneName = Literal[
    "efficientnet-lite0",
    "efficientnet-lite1",
    "efficientnet-lite2",
    "resnet18",
    "resnet50",
    "resnet101",
    "wide-resnet50",
    "dinov2-small",
]

BACKBONES: dict[BackboneName, type[Backbone]] = {
    "efficientnet-lite0": EfficientNetLite0,
    "efficientnet-lite1": EfficientNetLite1,
    "efficientnet-lite2": EfficientNetLite2,
    "resnet18": ResNet18,
    "resnet50": ResNet50,
    "resnet101": ResNet101,
    "wide-resnet50": WideResNet50,
    "dinov2-small": DinoV2Small,
}


def create_backbone(
    name: BackboneName, levels: tuple[int, ...], *, weights: str | None = "imagenet", seed: int = 0
) -> Backbone:
    """A frozen backbone.

    Args:
        name: From ``BACKBONES``.
        levels: Strides to return, out of its ``level_channels``, ascending.
        weights: ``imagenet`` (as published), ``random`` (untrained), or the path of a state dict in its authors' names,
            for DINOv2 also a folder or a name on the hub; None leaves them out, for a checkpoint to follow.
        seed: Random weights follow from it.

    Raises:
        MissingDependencyError: A package that it needs is not installed.
        UsageError: There is no such file of weights.
        CheckpointError: The weights cannot be had, or belong to another architecture.
    """
    backbone = BACKBONES[name](levels)
    if weights == "random":
        backbone.draw_weights(seed)
    elif weights is not None:
        _load(
            backbone,
            backbone.imagenet_weights() if weights == "imagenet" else backbone.read_published(weights),
            weights,
        )
    return backbone.eval()


def _load(backbone: Backbone, state: dict[str, Tensor], source: str) -> None:
    try:
        backbone.load_published(state)
    except CheckpointError as error:
        kind = type(backbone).__name__
        raise CheckpointError(f"The weights {source} do not fit {kind}: {error.message}", error.hint) from error
