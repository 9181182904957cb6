"""The threshold of an engine: from its own scores of held-out photos, and from cross-fitted scores of the others.

The detectors that leave out a block exist in torch and float32 alone. Their scores are brought to the engine's scale by
what it gives, and float32 torch gave, to the same photos: their sums' ratio, 1 within rounding for an FP32 graph. Of a
detector that was fitted on all photos, both are scores by itself; in runs of before, which held the first block out,
that block counts with the engine's own scores.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import UsageError
from edge_ad.evaluation.cross_fitted_threshold import fit_cross_fitted_threshold
from edge_ad.evaluation.thresholds import checked_scores, fit_threshold
from edge_ad.manifest import Threshold

__all__ = ["GoodScores"]

_Photo = TypeVar("_Photo", bound=Hashable)

_REMEMBERED = 0.05
_BLOCK = (
    "; of one held-out block of photos, as this network would have to be trained again for each, and what differs "
    "between blocks is not in it"
)
_TRAINED_ON = (
    "; these photos were trained on, as all were, so new parts score higher and nothing is promised: set it anew with "
    "photos that were not"
)


@dataclass(frozen=True)
class GoodScores:
    """What the threshold of each engine of a run is set from.

    Attributes:
        false_alarm_rate: Share of good parts that may be called defective, in (0, 1).
        scores: (N,) scores of all good photos, each by a detector that has not seen it, the held-out ones first; empty
            where the engine's own scores of the held-out ones are all there is.
        blocks: (N,) number of the block of each, 0 for the held-out ones.
        groups: (N,) the same number for photos that show the same thing; without scores, of the held-out photos, and
            empty where all differ.
        is_block: Whether what is held out is a block, and was not drawn by chance.
        is_trained_on: Whether the photos of the block were trained on: then the threshold promises nothing.
        fitted: (M,) scores of the photos of block 0 by the deployed detector in float32 torch, where it was fitted on
            them too; empty where they are held out.
    """

    false_alarm_rate: float = 0.01
    scores: tuple[float, ...] = ()
    blocks: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()
    is_block: bool = False
    is_trained_on: bool = field(default=False, repr=False)  # follows from the split
    fitted: tuple[float, ...] = field(default=(), repr=False)  # follows from the weights and the photos

    @classmethod
    def of_folds(
        cls,
        false_alarm_rate: float,
        folds: Sequence[Sequence[_Photo]],
        duplicates: Sequence[Sequence[_Photo]],
        scores: Mapping[_Photo, float],
        fitted: Mapping[_Photo, float] | None = None,
    ) -> GoodScores:
        """Of a split whose first fold engines score.

        Args:
            false_alarm_rate: Share of good parts that may be called defective, in (0, 1).
            folds: The photos, in any form, of each block.
            duplicates: Photos that show the same thing.
            scores: Score of each photo by a detector that has not seen its block.
            fitted: Score of each photo of the first fold by the deployed detector, where that was fitted on it too.

        Raises:
            KeyError: A photo has no score.
        """
        photos = [photo for fold in folds for photo in fold]
        return cls(
            false_alarm_rate,
            tuple(scores[photo] for photo in photos),
            tuple(number for number, fold in enumerate(folds) for _ in fold),
            _numbered(photos, duplicates),
            is_block=True,
            fitted=tuple(fitted[photo] for photo in folds[0]) if fitted else (),
        )

    @classmethod
    def of_block(
        cls,
        false_alarm_rate: float,
        photos: Sequence[_Photo],
        duplicates: Sequence[Sequence[_Photo]],
        *,
        is_trained_on: bool = False,
    ) -> GoodScores:
        """Of a block that is held out once and for all.

        Args:
            false_alarm_rate: Share of good parts that may be called defective, in (0, 1).
            photos: The held-out photos, in any form.
            duplicates: Photos, those and others, that show the same thing.
            is_trained_on: Whether they were trained on after all.
        """
        groups = _numbered(photos, duplicates)
        return cls(false_alarm_rate, groups=groups, is_block=True, is_trained_on=is_trained_on)

    def threshold(self, own: Sequence[float] | NDArray[Any]) -> Threshold:
        """The threshold of an engine.

        Args:
            own: (M,) its scores of the photos of block 0.

        Raises:
            MetricError: NaN or infinite scores.
            UsageError: Not as many scores as photos were held out.
        """
        found = checked_scores(np.asarray(own))
        if not self.scores:
            threshold = fit_threshold(self._of_different(found), false_alarm_rate=self.false_alarm_rate)
            if self.is_trained_on:
                return threshold.model_copy(update={"rule": threshold.rule + _TRAINED_ON, "false_alarm_bound": 1.0})
            return threshold.model_copy(update={"rule": threshold.rule + _BLOCK}) if self.is_block else threshold
        return fit_cross_fitted_threshold(
            self._on_scale_of(found), self.blocks, self.groups, false_alarm_rate=self.false_alarm_rate
        )

    @property
    def remembers(self) -> bool:
        """Whether the detector knows its photos by heart: what is left of their scores tells no scale."""
        return bool(self.fitted) and float(np.mean(self.fitted)) < _REMEMBERED * float(np.mean(self.scores))

    def _of_different(self, own: NDArray[np.float64]) -> NDArray[np.float64]:
        """One score, the highest, of each group of photos that show the same thing."""
        if not self.groups:
            return own
        if own.size != len(self.groups):
            raise UsageError(f"{own.size} scores were given of {len(self.groups)} held-out photos.")
        numbers = np.array(self.groups)
        return np.array([own[numbers == number].max() for number in np.unique(numbers)])

    def _on_scale_of(self, own: NDArray[np.float64]) -> NDArray[np.float64]:
        scores, held_out = np.array(self.scores), np.array(self.blocks) == 0
        if own.size != held_out.sum():
            raise UsageError(f"{own.size} scores were given of {held_out.sum()} held-out photos.")
        reference = np.array(self.fitted) if self.fitted else scores[held_out]
        if self.remembers:
            return scores
        if min(reference.min(), own.min()) > 0:
            scores *= own.sum() / reference.sum()
        else:  # scores of either sign have no ratio
            scores += own.mean() - reference.mean()
        if not self.fitted:
            scores[held_out] = own
        return scores


def _numbered(photos: Sequence[_Photo], duplicates: Sequence[Sequence[_Photo]]) -> tuple[int, ...]:
    """The same number for photos that show the same thing."""
    groups = {photo: number for number, group in enumerate(duplicates) for photo in group}
    return tuple(groups.get(photo, len(groups) + index) for index, photo in enumerate(photos))
