"""Parameters against what changes between the training photos and the line: light, haze, focus, noise, compression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from edge_ad.models.base import MethodParameters
from edge_ad.models.picture_normalisation import InputNormalisation

__all__ = ["LevelMatching", "RobustnessParameters"]

LevelMatching = Literal["none", "moments", "counts", "exact"]

_PLAIN: Mapping[str, Any] = {"views": 0, "input_normalisation": "none", "feature_centring": False, "matching": "none"}
_ROBUST: Mapping[str, Any] = {
    "views": 3,
    "input_normalisation": "picture",
    "feature_centring": True,
    "matching": "none",
}


class RobustnessParameters(MethodParameters):
    """What a detector on frozen patch features does against a shift; all of it is in the deployed graph.

    Attributes:
        views: Views of each fitting photo, as the line may take it on another day, that are fitted on beside it.
        input_normalisation: ``picture``: light and contrast of each picture are brought to those of the photos.
        feature_centring: The mean of each feature over the picture is subtracted.
        matching: Of the features at strides 4 and 8 to those of the photos, half of the way: of their ``moments``, of
            their distribution by ``counts``, or by sorting (``exact``; no TensorRT), or ``none``.
    """

    absent: ClassVar[Mapping[str, Any]] = _PLAIN
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"robust": _ROBUST, "plain": _PLAIN}

    views: int = Field(default=0, ge=0, le=16)
    input_normalisation: InputNormalisation = "none"
    feature_centring: bool = False
    matching: LevelMatching = "none"

    @property
    def most_part_share(self) -> float:
        """A picture that is normalised by itself needs ground in it: what changes the whole part would fall out."""
        return 0.4 if self.input_normalisation == "picture" else 1.0
