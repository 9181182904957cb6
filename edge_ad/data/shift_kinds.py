"""The kinds of shift that can be measured, their steps, and how they are asked for in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_ad.data import corruptions, line_shifts
from edge_ad.errors import UsageError

__all__ = ["IMAGENET_C", "KINDS", "LINE", "Motion", "ShiftKind", "parse_shifts", "step_words"]

Motion: TypeAlias = tuple[NDArray[np.float64], tuple[float, float]]
"""How a picture moves about its centre: a (2, 2) matrix for (x, y), and pixels to the right and down."""

_PREFIX = "imagenet-c"


@dataclass(frozen=True)
class ShiftKind:
    """One kind of shift.

    Attributes:
        name: As it is asked for, such as ``"gain"``.
        unit: What a step counts, in words.
        neutral: The step that stands for unshifted photos; no shift has it.
        steps: Steps that are measured where none is named, ascending.
        low: Lowest step that can be asked for.
        high: Highest one.
        apply: Image, step, seed → shifted image, uint8 (H, W, 3) BGR both.
        is_whole: Whether a step is a whole number.
        motion: Step → how the picture moves, and its mask with it; None where nothing moves.
    """

    name: str
    unit: str
    neutral: float
    steps: tuple[float, ...]
    low: float
    high: float
    apply: Callable[[NDArray[np.uint8], float, int], NDArray[np.uint8]]
    is_whole: bool = False
    motion: Callable[[float], Motion] | None = None

    def checked(self, step: float) -> float:
        """The step itself.

        Raises:
            UsageError: It is out of range, no whole number where it must be one, or that of unshifted photos.
        """
        if not (math.isfinite(step) and self.low <= step <= self.high) or step == self.neutral:
            but = f", and not {step_words(self.neutral)}" if self.low <= self.neutral <= self.high else ""
            raise UsageError(
                f"{self.name} takes steps from {step_words(self.low)} to {step_words(self.high)} ({self.unit}){but};"
                f" not {step_words(step)}.",
                f"For example: --shift {self.name}:{','.join(map(step_words, self.steps))}",
            )
        if self.is_whole and step != round(step):
            raise UsageError(f"{self.name} takes whole numbers ({self.unit}), not {step_words(step)}.")
        return step


def step_words(step: float) -> str:
    """A step as it is written: ``0.8``, ``-2``, ``1.25``."""
    return f"{step:.6g}"


def _plain(function: Callable[[NDArray[np.uint8], float], NDArray[np.uint8]]) -> Callable[..., NDArray[np.uint8]]:
    return lambda image, step, seed: function(image, step)


def _corruption(name: str) -> ShiftKind:
    def apply(image: NDArray[np.uint8], step: float, seed: int) -> NDArray[np.uint8]:
        if name == "gaussian_noise":
            return corruptions.gaussian_noise(image, round(step), seed=seed)
        return corruptions.corrupt(image, name, round(step))

    steps = tuple(float(severity) for severity in corruptions.SEVERITIES)
    words = f"{_PREFIX}/{name.replace('_', '-')}"
    return ShiftKind(words, "severity", 0.0, steps, steps[0], steps[-1], apply, is_whole=True)


_KINDS = (
    ShiftKind("gain", "factor", 1.0, (0.6, 0.7, 0.8, 0.9, 1.1, 1.25, 1.4, 1.6), 0.05, 20.0, _plain(line_shifts.gain)),
    ShiftKind(
        "offset", "grey levels", 0.0, (-40, -20, -10, -5, 5, 10, 20, 40), -255.0, 255.0, _plain(line_shifts.offset)
    ),
    ShiftKind("gamma", "exponent", 1.0, (0.6, 0.7, 0.8, 0.9, 1.1, 1.25, 1.4), 0.05, 20.0, _plain(line_shifts.gamma)),
    ShiftKind(
        "white-balance", "red over blue", 1.0, (0.6, 0.7, 0.8, 0.9, 1.1, 1.25, 1.4, 1.6), 0.05, 20.0,
        _plain(line_shifts.white_balance),
    ),
    ShiftKind("contrast", "factor", 1.0, (0.5, 0.7, 0.8, 0.9, 1.1, 1.25), 0.01, 20.0, _plain(line_shifts.contrast)),
    ShiftKind("blur", "σ in pixels", 0.0, (0.5, 1, 1.5, 2, 3), 0.05, 100.0, _plain(line_shifts.blur)),
    ShiftKind(
        "noise", "σ in grey levels", 0.0, (1, 2, 4, 8, 12, 16), 0.05, 255.0,
        lambda image, step, seed: line_shifts.noise(image, step, seed=seed),
    ),
    ShiftKind("jpeg", "quality", 101.0, (30, 50, 75, 90, 95), 1.0, 100.0, _plain(line_shifts.jpeg), is_whole=True),
    ShiftKind(
        "h264", "constant rate factor", -1.0, (12, 18, 23, 28, 33), 0.0, 51.0, _plain(line_shifts.h264), is_whole=True
    ),
    ShiftKind(
        "translation", "pixels right and down", 0.0, (-8, -4, -2, 2, 4, 8), -500.0, 500.0,
        _plain(line_shifts.translation), motion=lambda step: (np.eye(2), (step, step)),
    ),
    ShiftKind(
        "rotation", "degrees counter-clockwise", 0.0, (-4, -2, -1, 1, 2, 4), -180.0, 180.0,
        _plain(line_shifts.rotation), motion=lambda step: (line_shifts.rotation_matrix(step), (0.0, 0.0)),
    ),
    ShiftKind(
        "vignetting", "light lost in the corners", 0.0, (0.1, 0.2, 0.3, 0.5), 0.01, 1.0, _plain(line_shifts.vignetting)
    ),
    ShiftKind("dust", "specks on the lens", 0.0, (1, 3, 10, 30), 1.0, 1000.0, _plain(line_shifts.dust), is_whole=True),
)  # fmt: skip

LINE: Mapping[str, ShiftKind] = MappingProxyType({kind.name: kind for kind in _KINDS})
"""Small steps of what a line does, by name."""

IMAGENET_C: Mapping[str, ShiftKind] = MappingProxyType(
    {kind.name: kind for kind in map(_corruption, corruptions.CORRUPTIONS)}
)
"""The four corruptions of ImageNet-C that the papers on shifts use, severities 1 to 5, by name."""

KINDS: Mapping[str, ShiftKind] = MappingProxyType({**LINE, **IMAGENET_C})
"""All kinds by name."""


def parse_shifts(texts: Iterable[str]) -> tuple[ShiftKind, ...]:
    """Read what is asked for.

    Args:
        texts: ``line``, ``imagenet-c``, ``imagenet-c:3`` or ``KIND[:STEP,...]``, such as ``gain:0.8,1.25``; what is
            named twice is measured once, with the steps of both.

    Returns:
        The kinds in the order they were named, each with the steps to measure, ascending.

    Raises:
        UsageError: An unknown kind, or a step that it does not take.
    """
    steps: dict[str, set[float]] = {}
    for text in texts:
        name, separator, listed = text.partition(":")
        for kind in _named(name.strip()):
            wanted = _steps(text.strip(), listed) if separator else kind.steps
            steps.setdefault(kind.name, set()).update(kind.checked(step) for step in wanted)
    return tuple(replace(KINDS[name], steps=tuple(sorted(values))) for name, values in steps.items())


def _named(name: str) -> tuple[ShiftKind, ...]:
    if name in KINDS:
        return (KINDS[name],)
    if name == "line":
        return tuple(LINE.values())
    if name == _PREFIX:
        return tuple(IMAGENET_C.values())
    raise UsageError(f"Unknown shift: {name}.", f"Choose from: line, {_PREFIX}, {', '.join(KINDS)}.")


def _steps(text: str, listed: str) -> tuple[float, ...]:
    if text.startswith("line:"):
        raise UsageError("line takes no steps: each kind has its own.", "Name a kind: --shift gain:0.8,1.25")
    try:
        return tuple(float(item) for item in listed.split(","))
    except ValueError as error:
        raise UsageError(f"--shift {text}: steps are numbers.", "For example: --shift gain:0.8,1.25") from error
