"""What each stage of DSR's training sees: textures to quantise, bare masks for latent anomalies, colours to outline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_ad.data.simulated_defects import DefectSimulator, Fill, SimulatedDefect
from edge_ad.models.dsr.subspaces import QUANTISER, SUBSPACES

__all__ = ["UPSAMPLING", "StageSimulator"]

UPSAMPLING = "upsampling"
"""Name of the last stage."""

_FILLS: dict[str, Fill] = {QUANTISER: "texture", SUBSPACES: "nothing", UPSAMPLING: "colour"}


@dataclass(frozen=True)
class StageSimulator:
    """Simulates for each stage what it learns from; images stay as they are in the stages of other networks.

    Attributes:
        defects: Of the first stage that paints textures.
        stages: Names of the stages, in their order.
    """

    defects: DefectSimulator
    stages: tuple[str, ...]

    def sample(self, image: NDArray[np.uint8], key: Sequence[int]) -> SimulatedDefect:
        """A sample of an image, uint8 (h, w, 3) BGR; the key begins with the index of the stage.

        Raises:
            DataError: A texture cannot be read.
        """
        name = self.stages[key[0]]
        if name not in _FILLS:
            return SimulatedDefect(image, image, np.zeros(image.shape[:2], np.bool_))
        return replace(self.defects, fill=_FILLS[name]).sample(image, key)
