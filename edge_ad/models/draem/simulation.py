"""What every method has that is trained on simulated defects: how they are made, and windows of the images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from edge_ad.data.simulated_defects import DefectSimulator, Opacity, texture_photos
from edge_ad.errors import UsageError
from edge_ad.input_size import check_input_size
from edge_ad.models.base import MethodParameters

__all__ = ["SimulationParameters"]

_Schedule = Literal["step", "one-cycle", "fixed", "warm-up", "sgdr"]


class SimulationParameters(MethodParameters):
    """Parameters of every method that is trained on simulated defects.

    Attributes:
        textures: Folder of photographs to paint defects with, searched with its subfolders; None renders textures.
        clean_share: Share of the samples without a defect.
        rotation: Training images are turned by up to this many degrees, either way; 0 leaves them.
        rotation_share: Share of the images that are turned.
        crop: Side of the windows that training cuts out of its images, pixels; 0 trains on whole images, as does a
            window that is not smaller than they are.
        crops: Windows of each image.
        focusing: γ of the focal loss.
        epochs: Epochs; 0 lets the number of images decide (about ``steps`` steps).
        learning_rate: Peak learning rate of all stages.
        schedule: Learning-rate schedule of all stages.
    """

    textures: str | None = None
    clean_share: float = Field(default=0.5, ge=0, lt=1)
    rotation: float = Field(default=0.0, ge=0, le=180)
    rotation_share: float = Field(default=1.0, ge=0, le=1)
    crop: int = Field(default=128, ge=0)
    crops: int = Field(default=2, ge=1, le=64)
    focusing: float = Field(default=2.0, ge=0)
    epochs: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: _Schedule = "one-cycle"

    def check_sizes(self, multiple: int, least: int) -> None:
        """Refuse images or windows that a network does not take.

        Args:
            multiple: Of which their sides are one, in pixels.
            least: Shortest side, in pixels.

        Raises:
            UsageError: They do not fit.
        """
        check_input_size(self.size, multiple, least)
        if self.crop and (self.crop % multiple or self.crop < least):
            hint = f"Give crop= a multiple of {multiple}, {least} or more."
            raise UsageError(f"The crop {self.crop} does not fit.", hint)

    def defects(self, opacity: Opacity = "code") -> DefectSimulator:
        """What makes the defects.

        Args:
            opacity: Range of β, the share of the texture inside a defect.

        Raises:
            DataError: There are no photographs in ``textures``.
        """
        return DefectSimulator(
            self.seed,
            texture_photos(Path(self.textures)) if self.textures else (),
            opacity=opacity,
            clean_share=self.clean_share,
            rotation=self.rotation,
            rotation_share=self.rotation_share,
        )
