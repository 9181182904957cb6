"""Where a suspected defect is: the masks of reconstruction-by-inpainting, behind one interface."""

from edge_ad.models.mask_sources.adaptive import AdaptiveMask
from edge_ad.models.mask_sources.base import BackboneSaliency, ConstantMask, MaskSource
from edge_ad.models.mask_sources.dsr import DsrSegmentation
from edge_ad.models.mask_sources.flow_likelihood import FlowLikelihood
from edge_ad.models.mask_sources.parameters import MaskSourceName, MaskSourceParameters
from edge_ad.models.mask_sources.patch_distance import PatchDistance
from edge_ad.models.mask_sources.trained import TrainedMaskSource
from edge_ad.models.mask_sources.vit import VitAttention

__all__ = [
    "AdaptiveMask",
    "BackboneSaliency",
    "ConstantMask",
    "DsrSegmentation",
    "FlowLikelihood",
    "MaskSource",
    "MaskSourceName",
    "MaskSourceParameters",
    "PatchDistance",
    "TrainedMaskSource",
    "VitAttention",
]
