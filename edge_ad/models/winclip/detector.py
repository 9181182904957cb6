"""WinCLIP as a detector: nothing is learnt from photos, only the threshold is set by them."""

from __future__ import annotations

import copy
from typing import ClassVar

from pydantic import Field, JsonValue
from torch import Tensor
from torch.nn import functional as F

from edge_ad.errors import UsageError
from edge_ad.input_size import check_input_size
from edge_ad.models.base import AnomalyDetector, DetectorOutput, MethodParameters
from edge_ad.models.mask_sources.vit_tokens import stride_of_patch
from edge_ad.models.published import Publication
from edge_ad.models.winclip.pretrained import DEFAULT_CLIP, read_clip
from edge_ad.models.winclip.publication import WINCLIP
from edge_ad.models.winclip.windows import SCALES, WindowScores

__all__ = ["WinClip", "WinClipParameters"]

_MULTIPLE = 32  # pixels per patch of the coarsest of CLIP's image towers


class WinClipParameters(MethodParameters):
    """Parameters of WinCLIP.

    Attributes:
        part: What the photos show, in words, for the prompts.
        clip_model: Hub name or local folder of CLIP and its tokenizer.
        clip_config: Configuration of its image tower once it has been read; leave it out.
    """

    publication: ClassVar[Publication | None] = WINCLIP

    part: str = Field(default="object", min_length=1, max_length=80)
    clip_model: str = DEFAULT_CLIP
    clip_config: dict[str, JsonValue] | None = None


class WinClip(AnomalyDetector):
    """WinCLIP without reference photos.

    Args:
        config: Parameters, with ``clip_config``.
        pretrained: Of no effect: the weights are read by `create`.

    Raises:
        UsageError: CLIP has not been read yet, or the size of the image does not fit its windows.
    """

    method = "winclip"
    purpose = "no training: what CLIP's words say of windows of a photo; good photos set the threshold alone"
    training_time = "seconds"
    parameters_type = WinClipParameters
    float_modules: ClassVar[tuple[str, ...]] = ("windows",)
    config: WinClipParameters

    def __init__(self, config: WinClipParameters, *, pretrained: bool = True) -> None:
        super().__init__()
        if config.clip_config is None:
            raise UsageError("CLIP has not been read yet.", "Create the detector with edge_ad.models.create_detector.")
        self.config = config
        self.windows = WindowScores(dict(config.clip_config))
        stride = stride_of_patch(self.windows.patch)
        check_input_size(config.size, self.size_multiple(config), -(-max(SCALES) * stride // _MULTIPLE) * _MULTIPLE)

    @classmethod
    def create(cls, config: WinClipParameters) -> WinClip:
        """A new detector with CLIP's weights and the embedded prompts.

        Raises:
            UsageError: CLIP cannot be read.
        """
        clip_config, state = read_clip(config.clip_model, config.part, "clip_model")
        detector = cls(config.model_copy(update={"clip_config": clip_config}))
        detector.windows.load_state_dict(state)
        return detector

    @classmethod
    def size_multiple(cls, config: WinClipParameters) -> int:
        """So that patches of 14, 16 and 32 pixels fill the image."""
        return _MULTIPLE

    def forward(self, images: Tensor) -> DetectorOutput:
        """Score: that of the whole photo; map: the harmonic mean of all scales, brought to image size bilinearly."""
        scores = self.windows(images)
        patches = F.interpolate(scores.patches, self.config.size_hw, mode="bilinear", align_corners=False)
        return DetectorOutput(scores.photo, patches)

    def deployed(self) -> WinClip:
        """With CLIP's image tower as it is exported."""
        deployed = copy.copy(self)
        deployed._modules = {**self._modules, "windows": self.windows.deployed(self.config.size_hw)}
        return deployed
