"""What the picture of a scene is like: brightness, contrast, sharpness, noise, white balance; and within what limits.

A detector tells parts apart only in the light that its photos were taken in. These six numbers say whether a frame
still looks like those photos, and they say it without looking at the score: a warning, never a verdict. They are
measured on the picture as the network sees it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_ad.document import Document

__all__ = [
    "LEAST_PHOTOS",
    "SCENE_SCHEMA_VERSION",
    "SceneLimits",
    "SceneMeasures",
    "SceneRange",
    "SceneReading",
    "changes_in_words",
    "measure_scene",
]

SCENE_SCHEMA_VERSION = 1
LEAST_PHOTOS = 8
"""Photos below which no limits are set: their spread would not be known."""

_MAD_TO_SIGMA = 1.4826
_SPREADS = 4.0  # of the photos, that a smoothed picture may lie from their middle
_LEAST_SHARE = {"brightness": 0.08, "contrast": 0.12, "sharpness": 0.2, "noise": 0.35, "red": 0.04, "blue": 0.04}
_LEAST_NOISE = 0.5  # grey levels: what the rounding to 8 bits hides
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_MEDIAN_OF_NORMAL = 0.6745  # of |x|, in standard deviations
_LAPLACIAN_GAIN = 20.0  # variance of the 4-neighbour Laplacian of white noise of variance 1
_IMMERKAER_GAIN = 6.0  # the same for its deviation after `_IMMERKAER`
_LEAST_CHANNEL = 1.0  # grey levels: the ratio of two channels of a black picture means nothing


class SceneMeasures(NamedTuple):
    """What one picture is like.

    Attributes:
        brightness: Mean grey level, 0..255.
        contrast: Standard deviation of the grey levels over their mean: a gain changes it as little as it can.
        sharpness: Root mean square of the Laplacian without what noise adds to it, over the standard deviation.
        noise: Standard deviation of the noise, in grey levels; fine texture counts as noise.
        red: Mean of red over mean of green.
        blue: Mean of blue over mean of green.
    """

    brightness: float
    contrast: float
    sharpness: float
    noise: float
    red: float
    blue: float


def measure_scene(image: NDArray[np.uint8]) -> SceneMeasures:
    """Measure a picture.

    Sharpness is of the middle half of its rows and noise of the middle quarter: they show the part, and no bars of a
    letterbox above it.
    Noise is J. Immerkær's estimate ("Fast noise variance estimation", 1996) with the median in place of the mean, so
    that edges do not count: ``σ = median |I * N| / (0.6745 · 6)``. White noise of that σ adds ``20 σ²`` to the variance
    of the Laplacian, which is taken off.

    Args:
        image: uint8 (H, W, 3), BGR, at least 8 pixels high and wide, as the network sees it.
    """
    blue, green, red, _ = cv2.mean(image)
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
    mean, deviation = (float(value.item()) for value in cv2.meanStdDev(grey))
    noise = _noise(_middle(grey, 0.25))
    laplacian = np.asarray(cv2.Laplacian(_middle(grey, 0.5), cv2.CV_16S))
    energy = cv2.norm(laplacian, cv2.NORM_L2SQR) / laplacian.size
    edges = math.sqrt(max(energy - _LAPLACIAN_GAIN * noise**2, 0.0))
    return SceneMeasures(
        brightness=mean,
        contrast=deviation / max(mean, _LEAST_CHANNEL),
        sharpness=edges / max(deviation, _LEAST_CHANNEL),
        noise=noise,
        red=max(red, _LEAST_CHANNEL) / max(green, _LEAST_CHANNEL),
        blue=max(blue, _LEAST_CHANNEL) / max(green, _LEAST_CHANNEL),
    )


def _middle(grey: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """The rows in the middle that are this share of all, six at least."""
    height = grey.shape[0]
    rows = min(height, max(6, round(share * height)))
    top = (height - rows) // 2
    return grey[top : top + rows]


def _noise(grey: NDArray[np.uint8]) -> float:
    """Standard deviation of the noise of uint8 (h, w), in grey levels."""
    filtered = np.asarray(cv2.convertScaleAbs(cv2.filter2D(grey, cv2.CV_16S, _IMMERKAER)))
    counts = np.bincount(filtered[1:-1:2, 1:-1:2].ravel(), minlength=256)
    below = np.cumsum(counts)
    half = below[-1] / 2
    place = int(np.searchsorted(below, half))
    # Inside the bin of the median, values are taken as spread evenly: steps of a quarter of a grey level otherwise.
    inside = (half - (below[place] - counts[place])) / counts[place]
    median = max(place - 0.5 + float(inside), 0.0)
    return median / (_MEDIAN_OF_NORMAL * _IMMERKAER_GAIN)


class SceneRange(Document):
    """Where one measure lies in the photos.

    Attributes:
        centre: Median over the photos.
        low: What a smoothed picture is not below.
        high: What it is not above.
    """

    centre: float
    low: float
    high: float

    @model_validator(mode="after")
    def _is_in_order(self) -> SceneRange:
        if not self.low <= self.centre <= self.high:
            raise ValueError("low, centre and high are not in this order")
        return self


class SceneLimits(Document):
    """Contents of ``scene.json`` of a bundle: how good photos look, and how far a scene may be from that.

    Attributes:
        schema_version: Version of this schema.
        photos: How many photos were measured.
        ranges: Name of a measure, as in `SceneMeasures` → its range.
    """

    schema_version: int = SCENE_SCHEMA_VERSION
    photos: int = Field(ge=LEAST_PHOTOS)
    ranges: dict[str, SceneRange]

    @model_validator(mode="after")
    def _has_every_measure(self) -> SceneLimits:
        if set(self.ranges) != set(SceneMeasures._fields):
            raise ValueError(f"ranges are of other measures than {', '.join(SceneMeasures._fields)}")
        return self

    @classmethod
    def of(cls, measured: Iterable[SceneMeasures]) -> SceneLimits | None:
        """Limits for pictures like these.

        Of each measure the middle is its median m; the limits are ``m ± 4 s``, s being 1.4826 times the median absolute
        deviation, and never so close that 98 % of the photos, or a change that nobody needs to hear of, are outside.

        Args:
            measured: Of each photo of good parts.

        Returns:
            The limits; None for fewer photos than `LEAST_PHOTOS`.
        """
        table = np.array(list(measured), np.float64)
        if len(table) < LEAST_PHOTOS:
            return None
        columns = zip(SceneMeasures._fields, table.T, strict=True)
        return cls(photos=len(table), ranges={name: _range(name, column) for name, column in columns})


def _range(name: str, values: NDArray[np.float64]) -> SceneRange:
    centre = float(np.median(values))
    spread = _MAD_TO_SIGMA * float(np.median(np.abs(values - centre)))
    reach = max(_SPREADS * spread, _LEAST_SHARE[name] * centre, _LEAST_NOISE if name == "noise" else 0.0)
    lowest, highest = (float(value) for value in np.quantile(values, (0.01, 0.99)))
    # A measure is never negative: below 0 there is nothing to be warned of.
    return SceneRange(centre=centre, low=max(min(centre - reach, lowest), 0.0), high=max(centre + reach, highest))


@dataclass(frozen=True)
class SceneReading:
    """What a frame's picture is like, and what the photos were like that its judge was trained on.

    Attributes:
        measures: Of the frame.
        limits: Of the photos.
    """

    measures: SceneMeasures
    limits: SceneLimits

    def ratios(self) -> dict[str, float]:
        """Measure → how many times the photos' median it is; a measure that is 0 in the photos is left out."""
        centres = {name: self.limits.ranges[name].centre for name in SceneMeasures._fields}
        return {name: getattr(self.measures, name) / centre for name, centre in centres.items() if centre > 0}

    def changed(self, *, within: float = 1.0) -> tuple[str, ...]:
        """The measures outside their limits.

        Args:
            within: Share of the way from the photos' median to a limit that counts as inside, in (0, 1].
        """
        return tuple(name for name in SceneMeasures._fields if self._is_outside(name, within))

    def _is_outside(self, name: str, within: float) -> bool:
        value, limits = getattr(self.measures, name), self.limits.ranges[name]
        low = limits.centre + within * (limits.low - limits.centre)
        high = limits.centre + within * (limits.high - limits.centre)
        return not low <= value <= high


_WORDS: Mapping[str, tuple[str, str]] = {
    "brightness": ("darker", "brighter"),
    "contrast": ("less contrast", "more contrast"),
    "sharpness": ("less sharp", "sharper"),
    "noise": ("less noise", "more noise"),
    "red": ("less red", "redder"),
    "blue": ("less blue", "bluer"),
}


def changes_in_words(reading: SceneReading, names: Iterable[str]) -> str:
    """Say how a picture differs from the photos, such as ``darker by 30 %, less sharp by 41 %``.

    Args:
        reading: The picture and the photos.
        names: The measures to name.
    """
    return ", ".join(_change(reading, name) for name in names)


def _change(reading: SceneReading, name: str) -> str:
    value, centre = getattr(reading.measures, name), reading.limits.ranges[name].centre
    word = _WORDS[name][int(value > centre)]
    if name == "noise":
        return f"{word} ({value:.1f} grey levels for {centre:.1f})"
    return f"{word} by {abs(value / centre - 1):.0%}".replace("%", " %") if centre > 0 else word
