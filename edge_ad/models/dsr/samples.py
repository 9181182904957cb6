"""What each stage of DSR's training sees: textures to quantise, bare masks for latent anomalies, colours to outline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad.data.simulated_defects import DefectSimulator, Fill, SimulatedDefect, texture_photos
from edge_ad.models.dsr.subspaces import QUANTISER, SUBSPACES

__all__ = ["UPSAMPLING", "StageSimulator", "create_simulator"]

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


def create_simulator(
    seed: int, textures: str | None, stages: Sequence[str], *, clean_share: float = 0.5, rotation: float = 0.0
) -> StageSimulator:
    """A simulator for stages of these names.

    Args:
        seed: Everything follows from it and the keys.
        textures: Folder of photographs; None renders textures.
        stages: Names, in their order.
        clean_share: Share of the samples without a defect.
        rotation: Images are turned by up to this many degrees.

    Raises:
        DataError: There are no photographs in ``textures``.
    """
    photos = texture_photos(Path(textures)) if textures else ()
    return StageSimulator(DefectSimulator(seed, photos, clean_share=clean_share, rotation=rotation), tuple(stages))
