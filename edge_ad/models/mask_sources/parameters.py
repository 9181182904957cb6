"""Parameters of the mask sources: of EAR, and of what is built on it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, JsonValue, model_validator

from edge_ad.models.mask_sources.patch_distance import DistanceKind
from edge_ad.models.robustness import RobustnessParameters

__all__ = ["GRID_STRIDE", "PROMPTED_SOURCE", "MaskSourceName", "MaskSourceParameters"]

MaskSourceName = Literal[
    "patch-distance", "msflow", "dsr", "ami-net", "backbone", "dino", "vit", "winclip", "full", "none"
]

PROMPTED_SOURCE: MaskSourceName = "winclip"
"""The mask source that is told in words what the photos show."""

GRID_STRIDE = 8
"""Pixels per patch of every mask."""


class MaskSourceParameters(RobustnessParameters):
    """Which mask source, and what each of them is told.

    Attributes:
        mask_source: Where suspected defects are.
        distance: Kind of patch distance, for ``patch-distance``.
        mask_quantile: Threshold of it, of ``msflow`` and of ``dsr``, a quantile of held-out good patches.
        flow_steps: Steps of the training of the flow, for ``msflow``.
        dsr_steps: Steps of the training of DSR, for ``dsr``.
        dsr_textures: Folder of photographs for that training, searched with its subfolders; None renders textures.
        ami_clusters: Centres that the tokens of a photo belong to, for ``ami-net``.
        ami_deviations: Its limit, in standard deviations above a cluster's mean distance.
        ami_width: Channels of its tokens, a multiple of 64.
        ami_steps: Steps of its training.
        mask_mass: Share of saliency or attention mass that is masked, for ``backbone``, ``dino``, ``vit`` and
            ``winclip``.
        mask_model: Hub name or local folder of the mask source's network, for ``dino``, ``vit`` and ``winclip``; its
            own default where none is given.
        mask_part: What the photos show, in words, for the prompts of ``winclip``.
        mask_config: Configuration of that network once it has been read; leave it out.
    """

    mask_source: MaskSourceName = "patch-distance"
    distance: DistanceKind = "gaussian"
    mask_quantile: float = Field(default=0.995, gt=0, lt=1)
    flow_steps: int = Field(default=400, ge=1)
    dsr_steps: int = Field(default=1200, ge=2)
    dsr_textures: str | None = None
    ami_clusters: int = Field(default=8, ge=2, le=64)
    ami_deviations: float = Field(default=0.5, gt=0, le=10)
    ami_width: int = Field(default=192, ge=64, le=1024, multiple_of=64)
    ami_steps: int = Field(default=400, ge=1)
    mask_mass: float = Field(default=0.6, gt=0, le=1)
    mask_model: str | None = None
    mask_part: str = Field(default="object", min_length=1, max_length=80)
    mask_config: dict[str, JsonValue] | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, values: Any) -> Any:
        """Runs of before call the two ``dino_model`` and ``dino_config``."""
        if not isinstance(values, dict) or not {"dino_model", "dino_config"} & values.keys():
            return values
        renamed = {name: value for name, value in values.items() if name not in ("dino_model", "dino_config")}
        if values.get("mask_source") == "dino":
            renamed.setdefault("mask_model", values.get("dino_model"))
            renamed.setdefault("mask_config", values.get("dino_config"))
        return renamed

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Rows and columns of the patches that a mask hides."""
        height, width = self.size_hw
        return height // GRID_STRIDE, width // GRID_STRIDE
