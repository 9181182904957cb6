"""What a measurement under shift found, as frozen data, and how far each kind of shift is tolerated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from edge_ad.data.shift_kinds import ShiftKind
from edge_ad.evaluation.results import Rate
from edge_ad.manifest import Threshold

__all__ = [
    "MARGIN",
    "WHERE",
    "ShiftAt",
    "ShiftReport",
    "ShiftResult",
    "ShiftStep",
    "Tolerance",
    "find_tolerances",
    "is_tolerated",
    "why_no_tolerance",
]

ShiftAt: TypeAlias = Literal["file", "network"]
"""Where photos are shifted: at their own resolution, or as the network's input."""

WHERE: Mapping[ShiftAt, str] = MappingProxyType(
    {"file": "at the photos' own resolution", "network": "after resizing to the network's input"}
)
"""The same in words."""

MARGIN = 0.05
"""Share of good parts more than asked for that may be called defective, and of defective ones that may be missed more
than of unshifted photos, where a shift still counts as tolerated."""

_ROUNDING = 1e-9


@dataclass(frozen=True)
class ShiftStep:
    """What was measured on all test images at one step of one kind.

    Attributes:
        step: The step; that of unshifted photos for the measurement without a shift.
        image_auroc: None without good and defective images.
        pixel_auroc: None without masks, or where it was not asked for.
        pro: PRO to a false positive rate of 0.3; None as above.
        good_score: Median score of the good images; None without any.
        good_over_threshold: That over the threshold; None without a threshold above 0.
        false_alarms: Good images called defective; None without a threshold or without any.
        false_alarm_bound: Upper bound of the true rate by the binomial distribution, at the threshold's confidence.
        recall: Defective images called defective; None without a threshold or without any.
        unjudged: Images whose part could not be aligned. They do not pass: they count as false alarms and as found, and
            are in no other figure.
    """

    step: float
    image_auroc: float | None
    pixel_auroc: float | None
    pro: float | None
    good_score: float | None
    good_over_threshold: float | None = None
    false_alarms: Rate | None = None
    false_alarm_bound: float | None = None
    recall: Rate | None = None
    unjudged: int = 0

    def to_json(self) -> dict[str, Any]:
        """As values that `json` can write."""
        rates = {"false_alarms": _rate_json(self.false_alarms), "recall": _rate_json(self.recall)}
        return asdict(self) | rates


@dataclass(frozen=True)
class Tolerance:
    """How far a kind of shift is tolerated in one direction.

    Attributes:
        direction: ``"up"`` for steps above that of unshifted photos, ``"down"`` for those below.
        step: The last step that is tolerated, with all before it; None where the first one is not.
        first_failing: The first one that is not; None where all that were measured are.
    """

    direction: Literal["up", "down"]
    step: float | None
    first_failing: float | None


@dataclass(frozen=True)
class ShiftResult:
    """One kind of shift.

    Attributes:
        kind: The kind.
        steps: What was measured, ascending by step.
        tolerances: One for each direction that was measured; empty where there is none to know, see `why_no_tolerance`.
    """

    kind: ShiftKind
    steps: tuple[ShiftStep, ...]
    tolerances: tuple[Tolerance, ...]

    def to_json(self) -> dict[str, Any]:
        """As values that `json` can write."""
        return {
            "kind": self.kind.name,
            "unit": self.kind.unit,
            "steps": [step.to_json() for step in self.steps],
            "tolerances": [asdict(tolerance) for tolerance in self.tolerances],
        }


@dataclass(frozen=True)
class ShiftReport:
    """A detector or an engine on the shifted test images of a product.

    Attributes:
        product: Name of the product.
        engine: What ran, in words; may be empty.
        shift_at: Where the photos were shifted.
        size_hw: Height and width of the network's input, in pixels.
        photo_sizes_hw: Heights and widths of the photos, in pixels, each once.
        images: Number of test images.
        defective: How many of them are defective.
        without_mask: Defective images without a usable mask, left out of the pixel metrics.
        threshold: The threshold, which no test image had a part in; None for a run.
        unshifted: Without a shift.
        results: One for each kind.
        seen: Paths of test images whose content was trained on, below the product.
    """

    product: str
    engine: str
    shift_at: ShiftAt
    size_hw: tuple[int, int]
    photo_sizes_hw: tuple[tuple[int, int], ...]
    images: int
    defective: int
    without_mask: int
    threshold: Threshold | None
    unshifted: ShiftStep
    results: tuple[ShiftResult, ...]
    seen: tuple[Path, ...] = ()

    @property
    def why_no_tolerance(self) -> str:
        """Why no step of any shift is tolerated, whatever it gave, in words; empty where one may be."""
        why = why_no_tolerance(self.unshifted, self.threshold)
        if why or self.threshold is None or is_tolerated(self.unshifted, self.unshifted, self.threshold):
            return why
        return "Unshifted photos already give more false alarms than that: nothing is tolerated."

    def to_json(self) -> dict[str, Any]:
        """As values that `json` can write."""
        return {
            "product": self.product,
            "engine": self.engine,
            "shift_at": self.shift_at,
            "size_hw": list(self.size_hw),
            "photo_sizes_hw": [list(size) for size in self.photo_sizes_hw],
            "images": self.images,
            "defective": self.defective,
            "defective_images_without_mask": self.without_mask,
            "trained_on": [path.as_posix() for path in self.seen],
            "threshold": None if self.threshold is None else self.threshold.model_dump(),
            "margin": MARGIN,
            "why_no_tolerance": self.why_no_tolerance,
            "unshifted": {name: value for name, value in self.unshifted.to_json().items() if name != "step"},
            "shifts": [result.to_json() for result in self.results],
        }


def is_tolerated(step: ShiftStep, unshifted: ShiftStep, threshold: Threshold) -> bool:
    """Whether false alarms stay within what was asked for and recall within that of unshifted photos, by `MARGIN`.

    Unshifted photos themselves are not tolerated when they give too many false alarms.
    """
    alarms, recall, before = step.false_alarms, step.recall, unshifted.recall
    if alarms is not None and alarms.value > threshold.false_alarm_rate + MARGIN + _ROUNDING:
        return False
    return recall is None or before is None or before.value - recall.value <= MARGIN + _ROUNDING


def why_no_tolerance(unshifted: ShiftStep, threshold: Threshold | None) -> str:
    """Why what happens under shift cannot tell how far one is tolerated, in words; empty where it can.

    It takes false alarms and recall at a threshold, and recall that a shift could lower by more than `MARGIN`.
    """
    if threshold is None:
        return "Without a threshold there are no verdicts, and no tolerance."
    if unshifted.false_alarms is None or unshifted.recall is None:
        return "A tolerance takes good and defective photos: without both it is not known."
    if unshifted.recall.value <= MARGIN + _ROUNDING:
        found = f"{unshifted.recall.count} of {unshifted.recall.total}"
        return (
            f"Only {found} defective photos are found without any shift: there is no recall to keep, and no tolerance."
        )
    return ""


def find_tolerances(
    kind: ShiftKind, steps: Sequence[ShiftStep], unshifted: ShiftStep, threshold: Threshold | None
) -> tuple[Tolerance, ...]:
    """How far a kind is tolerated, down and up: as far as every step from that of unshifted photos on is.

    Args:
        kind: The kind.
        steps: What was measured, in any order.
        unshifted: Without a shift.
        threshold: The threshold.

    Returns:
        One for each direction that was measured; none where `why_no_tolerance` says why.
    """
    if threshold is None or why_no_tolerance(unshifted, threshold):
        return ()
    found = []
    for direction, sign in (("down", -1.0), ("up", 1.0)):
        outwards = sorted(
            (step for step in steps if sign * (step.step - kind.neutral) > 0), key=lambda step: sign * step.step
        )
        if outwards:
            fails = [not is_tolerated(step, unshifted, threshold) for step in (unshifted, *outwards)]
            count = fails.index(True) if any(fails) else len(fails)  # how many hold, the unshifted photos first
            last = outwards[count - 2].step if count > 1 else None
            failing = outwards[max(count - 1, 0)].step if count <= len(outwards) else None
            found.append(Tolerance("down" if direction == "down" else "up", last, failing))
    return tuple(found)


def _rate_json(rate: Rate | None) -> dict[str, Any] | None:
    return None if rate is None else {"count": rate.count, "total": rate.total, "rate": rate.value}
