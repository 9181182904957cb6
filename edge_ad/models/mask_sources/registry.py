"""Mask sources by name: how each is made, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from edge_ad.errors import UsageError
from edge_ad.models.backbones.efficientnet_lite import EfficientNetLite0
from edge_ad.models.mask_sources.adaptive import AdaptiveMask
from edge_ad.models.mask_sources.base import BackboneSaliency, ConstantMask, MaskSource
from edge_ad.models.mask_sources.dsr import DsrSegmentation
from edge_ad.models.mask_sources.flow_likelihood import FlowLikelihood
from edge_ad.models.mask_sources.parameters import GRID_STRIDE, MaskSourceName, MaskSourceParameters
from edge_ad.models.mask_sources.patch_distance import PatchDistance
from edge_ad.models.mask_sources.pretrained import IMAGENET_PIXELS, PLAIN_PIXELS, read_vit
from edge_ad.models.mask_sources.vit import VitAttention
from edge_ad.models.mask_sources.vit_tokens import stride_of_patch
from edge_ad.models.mask_sources.winclip import WinClipMap
from edge_ad.models.winclip.pretrained import DEFAULT_CLIP, read_clip
from edge_ad.models.winclip.windows import SCALES

__all__ = ["MASK_SOURCES", "MaskSourceKind", "create_mask_source", "create_patch_distance"]

_FINE_LEVEL, _DEEPEST_LEVEL = 8, 16  # of the backbone's features, whose channels lie in this order

Create = Callable[[MaskSourceParameters, int], MaskSource]
Read = Callable[[str, MaskSourceParameters], tuple[dict[str, Any], dict[str, Tensor]]]


@dataclass(frozen=True)
class MaskSourceKind:
    """A mask source that can be chosen.

    Attributes:
        create: Makes it from the parameters and the number of feature channels (0 without features).
        needs_features: Whether it reads features of the detector's own backbone.
        read: Reads a network from a hub name or a folder, by the other parameters: its configuration, which becomes
            ``mask_config`` before ``create`` is called, and the state dict of the mask source; None where nothing is
            read.
        default_model: What is read where ``mask_model`` names nothing.
    """

    create: Create
    needs_features: bool = False
    read: Read | None = None
    default_model: str = ""


def create_mask_source(config: MaskSourceParameters, channels: int) -> MaskSource:
    """The mask source of the parameters, unfitted and with random weights.

    Args:
        config: Parameters; with ``mask_config`` where the source has a network of its own.
        channels: Channels of the backbone's features; 0 without a backbone.

    Raises:
        UsageError: The source's network has not been read yet.
    """
    kind = MASK_SOURCES[config.mask_source]
    if kind.read is not None and config.mask_config is None:
        raise UsageError(
            f"The network of the mask source {config.mask_source!r} has not been read yet.",
            "Create the detector with edge_ad.models.create_detector.",
        )
    return kind.create(config, channels)


def create_patch_distance(config: MaskSourceParameters, channels: int) -> PatchDistance:
    """A patch distance on features of so many channels."""
    return PatchDistance(
        channels, config.grid_hw, kind=config.distance, quantile=config.mask_quantile, seed=config.seed
    )


def _vit(config: MaskSourceParameters, channels: int) -> MaskSource:
    return VitAttention(dict(config.mask_config or {}), config.grid_hw, config.mask_mass)


def _winclip(config: MaskSourceParameters, channels: int) -> MaskSource:
    source = WinClipMap(dict(config.mask_config or {}), config.grid_hw, config.mask_mass)
    side = max(SCALES) * stride_of_patch(source.windows.patch)
    if min(config.size_hw) < side:
        raise UsageError(
            f"{max(SCALES)} patches of this CLIP take {side} pixels, more than the input has.",
            f"Give --size {-(-side // 32) * 32} or more, or a CLIP with smaller patches.",
        )
    return source


def _read_winclip(name: str, config: MaskSourceParameters) -> tuple[dict[str, Any], dict[str, Tensor]]:
    network, state = read_clip(name, config.mask_part, "mask_model")
    return network, {f"windows.{key}": tensor for key, tensor in state.items()}


def _backbone(config: MaskSourceParameters, channels: int) -> MaskSource:
    return BackboneSaliency(EfficientNetLite0.level_channels[_DEEPEST_LEVEL], config.mask_mass)


def _msflow(config: MaskSourceParameters, channels: int) -> MaskSource:
    of_level = EfficientNetLite0.level_channels
    return FlowLikelihood(
        (of_level[_FINE_LEVEL], of_level[_DEEPEST_LEVEL]),
        config.grid_hw,
        quantile=config.mask_quantile,
        steps=config.flow_steps,
        seed=config.seed,
    )


def _dsr(config: MaskSourceParameters, channels: int) -> MaskSource:
    return DsrSegmentation(
        GRID_STRIDE,
        quantile=config.mask_quantile,
        steps=config.dsr_steps,
        textures=config.dsr_textures,
        seed=config.seed,
    )


def _ami_net(config: MaskSourceParameters, channels: int) -> MaskSource:
    return AdaptiveMask(
        channels,
        config.grid_hw,
        width=config.ami_width,
        clusters=config.ami_clusters,
        deviations=config.ami_deviations,
        steps=config.ami_steps,
        seed=config.seed,
    )


MASK_SOURCES: Mapping[MaskSourceName, MaskSourceKind] = {
    "patch-distance": MaskSourceKind(create_patch_distance, needs_features=True),
    "msflow": MaskSourceKind(_msflow, needs_features=True),
    "dsr": MaskSourceKind(_dsr),
    "ami-net": MaskSourceKind(_ami_net, needs_features=True),
    "backbone": MaskSourceKind(_backbone, needs_features=True),
    "dino": MaskSourceKind(
        _vit, read=lambda name, config: read_vit(name, IMAGENET_PIXELS), default_model="facebook/dino-vits8"
    ),
    "vit": MaskSourceKind(
        _vit, read=lambda name, config: read_vit(name, PLAIN_PIXELS), default_model="google/vit-base-patch16-224"
    ),
    "winclip": MaskSourceKind(_winclip, read=_read_winclip, default_model=DEFAULT_CLIP),
    "full": MaskSourceKind(lambda config, channels: ConstantMask(1.0, GRID_STRIDE)),
    "none": MaskSourceKind(lambda config, channels: ConstantMask(0.0, GRID_STRIDE)),
}
"""Name → kind, in the order in which they are listed."""
