"""The part of a frame that is judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import UsageError

__all__ = ["Region"]


@dataclass(frozen=True)
class Region:
    """A rectangle of a frame.

    Attributes:
        x: Left edge, in pixels from the left.
        y: Upper edge, in pixels from the top.
        width: In pixels.
        height: In pixels.
    """

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Region:
        """Read ``x,y,w,h``, in pixels.

        Raises:
            UsageError: Not four numbers, a negative corner, or nothing inside.
        """
        try:
            x, y, width, height = (int(number) for number in text.split(","))
        except ValueError:
            raise UsageError(f"{text} is not a region.", "Write x,y,width,height in pixels: 320,180,640,360.") from None
        if min(x, y) < 0 or min(width, height) < 1:
            raise UsageError(f"The region {text} has no pixels in a frame.", "x and y from 0, width and height from 1.")
        return cls(x, y, width, height)

    def crop(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The region of a frame.

        Args:
            image: uint8 (H, W, 3).

        Returns:
            uint8 (height, width, 3): a view, no copy.

        Raises:
            UsageError: The frame is too small for it: judging what is left of it would go unnoticed.
        """
        height, width = image.shape[:2]
        if self.x + self.width > width or self.y + self.height > height:
            raise UsageError(
                f"The region {self.x},{self.y},{self.width},{self.height} reaches beyond the frame.",
                f"The frame has {width}×{height} pixels.",
            )
        return image[self.y : self.y + self.height, self.x : self.x + self.width]
