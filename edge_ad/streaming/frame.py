"""Items of the pipeline: a captured frame, its result, or the reason why there is none; and events."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.prediction import NOT_FINITE, Prediction, Verdict
from edge_ad.regions import Region, find_regions
from edge_ad.scene import SceneReading
from edge_ad.streaming.product_mark import NO_PRODUCT, ProductMark

__all__ = ["NO_RECIPE", "Event", "Frame", "RecipeMark", "Result", "Unjudged"]


@dataclass(frozen=True)
class RecipeMark:
    """Which recipe holds for a frame.

    Attributes:
        name: What it is called.
        hash: SHA-256 of its file, hexadecimal.
    """

    name: str = ""
    hash: str = ""


NO_RECIPE = RecipeMark()
"""That of a stream without recipes."""


@dataclass(frozen=True)
class Frame:
    """One frame of a source.

    Attributes:
        index: Number of frames the source gave before it.
        image: uint8 (H, W, 3), BGR, at the source's size.
        captured_at: Monotonic time at which the source delivered it, in seconds (`time.perf_counter`).
        captured_unix: Wall-clock time of the same moment, in seconds since the epoch.
        capture_ms: How long the read took (decoding; for a camera also waiting for the next frame).
        source: Name of the source.
        source_index: Which of several sources, from 0.
        part: Id that the trigger gave the part it shows; empty for none.
        path: The file it comes from, absolute; empty when it comes from a camera or the network.
        problem: Why it cannot be judged though a verdict is due, such as ``"black"``; empty where it can.
        setup: Number of what was active when it was captured, and judges it: a bundle, with its recipe.
        is_due: Whether a verdict is due whatever it shows: its part was asked for, or started the exposure itself.
    """

    index: int
    image: NDArray[np.uint8] = field(repr=False)
    captured_at: float
    captured_unix: float
    capture_ms: float
    source: str = ""
    source_index: int = 0
    part: str = ""
    path: str = ""
    problem: str = ""
    setup: int = 0
    is_due: bool = False


@dataclass(frozen=True)
class Result:
    """A judged frame.

    Attributes:
        frame: The frame it belongs to.
        prediction: Score and anomaly map.
        verdict: The score against the threshold.
        prepare_ms: Time to resize to the engine's input and to look at the scene.
        infer_ms: Time from handing the frame to the engine to having its result.
        age_ms: Time from capture to result.
        bundle: Content hash of the bundle that judged it; empty when the engine came from none.
        scene: What the picture is like against the photos that were trained on; None where that is not known.
        recipe: The recipe that it was captured and judged under.
        product: Which product that bundle is of.
    """

    frame: Frame
    prediction: Prediction
    verdict: Verdict
    prepare_ms: float
    infer_ms: float
    age_ms: float
    bundle: str = ""
    scene: SceneReading | None = None
    recipe: RecipeMark = NO_RECIPE
    product: ProductMark = NO_PRODUCT

    @classmethod
    def of_unjudged(
        cls, frame: Frame, reason: str, threshold: float, bundle: str, recipe: RecipeMark = NO_RECIPE
    ) -> Result:
        """A frame that could not be judged, as a defective one: what was not inspected is not good.

        Args:
            frame: The frame.
            reason: Why not, in words.
            threshold: Raw score above which a frame is defective.
            bundle: Hash of the bundle that should have judged it.
            recipe: The recipe that it was captured under.

        Returns:
            Score and map are NaN.
        """
        nothing = Prediction(math.nan, np.full(frame.image.shape[:2], np.nan, np.float32))
        verdict = Verdict(math.nan, threshold, True, math.nan, reason)
        return cls(frame, nothing, verdict, 0.0, 0.0, 0.0, bundle, recipe=recipe)

    @property
    def is_defective(self) -> bool:
        """Whether the score is above the threshold, or nothing could be judged (see ``reason``)."""
        return self.verdict.is_anomalous

    @property
    def score(self) -> float:
        """Raw anomaly score; NaN where the frame could not be judged."""
        return self.verdict.score

    @property
    def threshold(self) -> float:
        """Raw score above which the frame is defective."""
        return self.verdict.threshold

    @property
    def reason(self) -> str:
        """Why the frame could not be judged, such as ``"not finite"`` or ``"black"``; empty where it was."""
        return self.verdict.reason

    @property
    def has_map(self) -> bool:
        """Whether the map says something about the frame: False where the frame could not be judged."""
        return self.verdict.reason in ("", NOT_FINITE)

    @property
    def path(self) -> str:
        """File that the frame comes from; empty for an array, a camera or the network."""
        return self.frame.path

    @cached_property
    def anomaly_map(self) -> NDArray[np.float32]:
        """Anomaly map at the frame's size, float32 (H, W), in the unit of the score."""
        height, width = self.frame.image.shape[:2]
        found = self.prediction.anomaly_map
        if found.shape == (height, width):
            return found
        return np.asarray(cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """Where the map is above the threshold, in pixels of the frame; the highest peak first."""
        height, width = self.frame.image.shape[:2]
        return find_regions(self.prediction.anomaly_map, self.verdict.threshold, (height, width))

    def plot(self) -> NDArray[np.uint8]:
        """Draw the frame with heat map, contours and verdict, uint8 BGR (h, w, 3); write it with ``cv2.imwrite``."""
        from edge_ad.streaming.overlay import draw_overlay

        return draw_overlay(self, fps=0.0)


@dataclass(frozen=True)
class Unjudged:
    """A frame that was looked at but not judged.

    Attributes:
        frame: The frame.
        reason: ``"black"``, ``"over-exposed"``, ``"frozen"``, ``"not triggered"``, ``"paused"``,
            ``"golden check"`` while one that failed stops the line,
            ``"another size"`` than the region was given for, ``"another shape"`` than was trained on, or, where the
            part is aligned, ``"no part"``, ``"several parts"``, ``"part cut off"`` or ``"part of another length"``.
    """

    frame: Frame
    reason: str


@dataclass(frozen=True)
class Event:
    """An event of a stream.

    Attributes:
        kind: ``"source lost"``, ``"source returned"``, ``"corrupt"``, ``"cut off"``, ``"request lost"``,
            ``"frame size"``, ``"another shape"``, ``"part"``, ``"drift"``, ``"drift over"``,
            ``"scene changed"``, ``"scene restored"``, ``"alarm"``, ``"alarm cleared"``,
            ``"bundle swapped"``, ``"bundle refused"``, ``"recipe switched"``, ``"recipe refused"``,
            ``"golden check due"``, and so on with ``begun``, ``judged``, ``passed``, ``failed`` and ``waived``,
            ``"master part"``,
            ``"threshold changed"``, ``"verdict corrected"``,
            ``"verdict agreed"``, ``"correction withdrawn"``, ``"paused"``, ``"resumed"``, ``"trail head"`` or
            ``"trail broken"``.
        at_unix: Wall-clock time, in seconds since the epoch.
        source: Name of the source it is about; empty when it is about the whole stream.
        text: One sentence for people.
        data: The same for programs; everything in it can be written as JSON.
    """

    kind: str
    at_unix: float
    source: str = ""
    text: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
