"""WinCLIP (Jeong et al., CVPR 2023): what CLIP says of windows of a photo, and the detector made of it."""

from edge_ad.models.winclip.detector import WinClip, WinClipParameters
from edge_ad.models.winclip.windows import WindowScores

__all__ = ["WinClip", "WinClipParameters", "WindowScores"]
