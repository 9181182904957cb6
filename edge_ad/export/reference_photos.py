"""Good photos on which an engine is compared with the trained detector."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_ad.data.views import with_views
from edge_ad.images import read_resized
from edge_ad.training.runs import Run, good_scores

__all__ = ["reference_photos"]


def reference_photos(run: Run, count: int | None = None) -> NDArray[np.uint8]:
    """The first photos of a run's threshold part, in other light where the detector knows them by heart.

    A bank that holds all patches of a photo gives it a distance of nothing but rounding, which no two engines share.

    Args:
        run: The run.
        count: How many; None for all.

    Returns:
        uint8 BGR (N, H, W, 3).

    Raises:
        DataError: A photo cannot be read.
    """
    config = run.detector.config
    images = read_resized(run.split.threshold[:count], config.size_hw, run.split.photos)
    return with_views(images, 1, seed=config.seed)[1::2] if good_scores(run).remembers else images
