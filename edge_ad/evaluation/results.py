"""What an evaluation found, as frozen data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.data.samples import Sample
from edge_ad.manifest import Threshold
from edge_ad.photo_spec import PhotoSpec

__all__ = ["Decisions", "Evaluation", "Rate"]

_NAMED = 3
_TELLING_AUROC = 0.95


@dataclass(frozen=True)
class Rate:
    """How often something happened.

    Attributes:
        count: How often.
        total: Out of how many; at least 1.
    """

    count: int
    total: int

    @classmethod
    def of(cls, happened: NDArray[np.bool_]) -> Rate:
        """Count in a bool array, (N,), N >= 1."""
        return cls(int(happened.sum()), happened.size)

    @property
    def value(self) -> float:
        """The rate, in [0, 1]."""
        return self.count / self.total


@dataclass(frozen=True)
class Decisions:
    """Verdicts at a threshold on test images, which the threshold never saw.

    Attributes:
        threshold: The threshold.
        false_alarms: Good images called defective; None without good test images.
        detections: Defective images called defective; None without defective test images.
        detections_by_type: Defect type → images of it called defective.
    """

    threshold: Threshold
    false_alarms: Rate | None
    detections: Rate | None
    detections_by_type: dict[str, Rate]


@dataclass(frozen=True)
class Evaluation:
    """Result of running a detector or an engine on the test images of a product.

    Attributes:
        product: Name of the product.
        root: Folder of the product; records give paths relative to it.
        size_hw: Height and width of the network's input, in pixels.
        samples: The N test images.
        scores: float64 (N,) raw scores.
        maps: float32 (N, h, w) anomaly maps, for pictures.
        metrics: ``image_auroc``, ``image_ap``, ``pixel_auroc``, ``pixel_ap``, ``pro``, as far as the ground truth
            defines them: image metrics need both kinds of image, pixel metrics need masks.
        defect_auroc: Defect type → image AUROC of that type against all good test images.
        brightness_auroc: Image AUROC of mean brightness alone, in either direction, in [0.5, 1]: how much of the
            result lighting could explain. None where image AUROC is not defined.
        without_mask: Defective images without a usable mask, left out of the pixel metrics.
        decisions: Verdicts; None when no threshold was given.
        engine: What ran, in words; may be empty.
        photos: How the photos were read and brought into the input.
        seen: Indices of test images whose content was trained on: what is measured on them promises too much.
        unjudged: Test images whose part could not be aligned, with the reason; they are in nothing above.
    """

    product: str
    root: Path
    size_hw: tuple[int, int]
    samples: tuple[Sample, ...]
    scores: NDArray[np.float64]
    maps: NDArray[np.float32] = field(repr=False)
    metrics: dict[str, float]
    defect_auroc: dict[str, float]
    brightness_auroc: float | None
    without_mask: int
    decisions: Decisions | None = None
    engine: str = ""
    photos: PhotoSpec = field(default_factory=PhotoSpec)
    seen: tuple[int, ...] = ()
    unjudged: tuple[tuple[Sample, str], ...] = ()

    @property
    def map_hw(self) -> tuple[int, int]:
        """Height and width of the maps, in pixels."""
        return self.maps.shape[1], self.maps.shape[2]

    @property
    def unjudged_words(self) -> str:
        """How many test images could not be judged, in words; empty where none was."""
        return self.unjudged_words_for("are in no figure")

    def unjudged_words_for(self, consequence: str) -> str:
        """As `unjudged_words`, with what that means where the figures are used, such as "count as defective"."""
        if not self.unjudged:
            return ""
        reasons = Counter(reason for _, reason in self.unjudged)
        defective = sum(sample.is_defective for sample, _ in self.unjudged)
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        named = ", ".join(self.name_of(sample) for sample, _ in self.unjudged[:_NAMED])
        more = ", …" if len(self.unjudged) > _NAMED else ""
        return (
            f"{len(self.unjudged)} test photos, {defective} of them defective, could not be judged ({counts}), and "
            f"{consequence}: {named}{more}"
        )

    @property
    def image_auroc(self) -> float | None:
        """Image AUROC, in [0, 1]; None without good or without defective test images."""
        return self.metrics.get("image_auroc")

    @property
    def pixel_auroc(self) -> float | None:
        """Pixel AUROC, in [0, 1]; None where no mask is known."""
        return self.metrics.get("pixel_auroc")

    @property
    def pro(self) -> float | None:
        """Per-region overlap up to a false-positive rate of 0.3, in [0, 1]; None where no mask is known."""
        return self.metrics.get("pro")

    @property
    def labels(self) -> NDArray[np.bool_]:
        """Labels, bool (N,), True where the part is defective."""
        return np.array([sample.is_defective for sample in self.samples], np.bool_)

    @property
    def seen_words(self) -> str:
        """How many test images were trained on, in words; empty where none was."""
        if not self.seen:
            return ""
        good = sum(not self.samples[index].is_defective for index in self.seen)
        kinds = [
            (good, int((~self.labels).sum()), "good"),
            (len(self.seen) - good, int(self.labels.sum()), "defective"),
        ]
        counts = " and ".join(f"{count} of {total} {kind}" for count, total, kind in kinds if count)
        return f"{counts} test photos were trained on: what is measured on them promises too much"

    @property
    def brightness_words(self) -> str:
        """That mean brightness alone tells good from defective photos, in words; empty where it does not."""
        if self.brightness_auroc is None or self.brightness_auroc < _TELLING_AUROC:
            return ""
        return (
            f"mean brightness alone tells good from defective photos (image AUROC {self.brightness_auroc:.3f}): where "
            "they were taken in different light, the figures measure the light"
        )

    def relative_path(self, index: int) -> str:
        """Path of a test image inside its product, with forward slashes: no machine's folders leak into a record."""
        return self.name_of(self.samples[index])

    def name_of(self, sample: Sample) -> str:
        """Path of a test image inside the product, with forward slashes."""
        path = sample.path
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.name

    def to_json(self) -> dict[str, Any]:
        """Everything but the maps, as values that `json` can write."""
        return {
            "product": self.product,
            "engine": self.engine,
            "size_hw": list(self.size_hw),
            "images": len(self.samples),
            "metrics": self.metrics,
            "defect_auroc": self.defect_auroc,
            "brightness_auroc": self.brightness_auroc,
            "defective_images_without_mask": self.without_mask,
            "trained_on": [self.relative_path(index) for index in self.seen],
            "unjudged": [
                {
                    "path": self.name_of(sample),
                    "defect_type": sample.defect_type,
                    "is_defective": sample.is_defective,
                    "reason": reason,
                }
                for sample, reason in self.unjudged
            ],
            "decisions": None if self.decisions is None else _decisions_json(self.decisions),
            "samples": [self._sample_json(index) for index in range(len(self.samples))],
        }

    def _sample_json(self, index: int) -> dict[str, Any]:
        sample, score = self.samples[index], float(self.scores[index])
        row: dict[str, Any] = {
            "path": self.relative_path(index),
            "defect_type": sample.defect_type,
            "is_defective": sample.is_defective,
            "score": score,
        }
        if self.decisions is not None:
            row["is_called_defective"] = score > self.decisions.threshold.value
        return row


def _decisions_json(decisions: Decisions) -> dict[str, Any]:
    return {
        "threshold": decisions.threshold.model_dump(),
        "false_alarms": _rate_json(decisions.false_alarms),
        "detections": _rate_json(decisions.detections),
        "detections_by_type": {name: _rate_json(rate) for name, rate in decisions.detections_by_type.items()},
    }


def _rate_json(rate: Rate | None) -> dict[str, Any] | None:
    return None if rate is None else {"count": rate.count, "total": rate.total, "rate": rate.value}
