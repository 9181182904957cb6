"""Subgroups of recorded verdicts: counts, mean and variance of the scores that passed; summed up by the database."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_ad.spc.shifts import Span
from edge_ad.streaming.records.export import MOST_UNIX, mistyped
from edge_ad.streaming.records.reader import RecordFilter, RecordReader

__all__ = ["VERDICT_COLUMNS", "BundleCounts", "Subgroups", "check_times", "read_counts"]

VERDICT_COLUMNS = {
    "id": "v.id",
    "source": "(SELECT name FROM sources WHERE id = v.source)",
    "is_ng": "v.is_ng",
    "bundle": "(SELECT hash FROM bundles WHERE id = v.bundle)",
    "recipe": "(SELECT name FROM recipes WHERE id = v.recipe)",
}
"""The columns of a `RecordFilter` in a query of ``verdicts v``."""

_PASSED = "CASE WHEN v.is_ng = 0 THEN v.score - ? END"
_COUNTS = f"""SELECT (SELECT hash FROM bundles WHERE id = v.bundle), count(*), sum(v.is_ng), count({_PASSED}),
    sum({_PASSED}), sum(({_PASSED}) * (v.score - ?)), sum(coalesce(
        typeof(v.time_unix) NOT IN ('real', 'integer') OR v.time_unix NOT BETWEEN 0 AND {MOST_UNIX - 1}
        OR typeof(v.score) NOT IN ('real', 'integer', 'null') OR typeof(v.threshold) NOT IN ('real', 'integer', 'null')
        OR v.is_ng NOT IN (0, 1) OR v.source NOT IN (SELECT id FROM sources WHERE typeof(name) = 'text')
        OR v.bundle NOT IN (SELECT id FROM bundles WHERE typeof(hash) = 'text'), 1))
    FROM verdicts v"""
_MOST_SQUARES = 1e200  # of larger scores no variance can be computed
_ANY_SCORE = "SELECT score FROM verdicts WHERE is_ng = 0 AND typeof(score) = 'real' LIMIT 1"


@dataclass(frozen=True)
class BundleCounts:
    """What one bundle judged in one subgroup.

    Attributes:
        subgroup: Index of the subgroup.
        bundle: Hash of the bundle.
        frames: Judged frames.
        defective: NG among them.
        passed: OK ones, all of which have a score; 0 where scores are too large for a mean.
        mean: Mean score of these; NaN where there are none.
        variance: Of these, with n − 1 in the denominator; NaN where there are fewer than two.
    """

    subgroup: int
    bundle: str
    frames: int
    defective: int
    passed: int
    mean: float
    variance: float


@dataclass(frozen=True)
class Subgroups:
    """Subgroups as arrays, those without records left out.

    Attributes:
        spans: When each was; N of them.
        frames: int64 (N,), at least 1.
        defective: int64 (N,).
        passed: int64 (N,) frames that passed, of one bundle.
        means: (N,) mean score of those; NaN where there are none.
        variances: (N,) of those scores; NaN below two.
    """

    spans: tuple[Span, ...]
    frames: NDArray[np.int64]
    defective: NDArray[np.int64]
    passed: NDArray[np.int64]
    means: NDArray[np.float64]
    variances: NDArray[np.float64]

    @classmethod
    def of(cls, spans: Sequence[Span], counts: Sequence[BundleCounts], score_bundle: str) -> Subgroups:
        """Sum up the bundles of each subgroup; scores of two bundles have no common scale.

        Args:
            spans: All subgroups.
            counts: What is in them.
            score_bundle: The bundle whose scores are looked at.
        """
        used = sorted({row.subgroup for row in counts})
        place = {subgroup: index for index, subgroup in enumerate(used)}
        whole, moments = np.zeros((3, len(used)), np.int64), np.full((2, len(used)), np.nan)
        for row in counts:
            index = place[row.subgroup]
            whole[:2, index] += (row.frames, row.defective)
            if row.bundle == score_bundle:
                whole[2, index], moments[:, index] = row.passed, (row.mean, row.variance)
        return cls(tuple(spans[subgroup] for subgroup in used), *whole, *moments)

    def __len__(self) -> int:
        return len(self.spans)


def read_counts(reader: RecordReader, spans: Sequence[Span], chosen: RecordFilter) -> list[BundleCounts]:
    """Count the records of each span, by bundle; a million of them take about a second.

    Args:
        reader: The records.
        spans: The subgroups.
        chosen: Which records; its time and limit do not count.

    Raises:
        DataError: The database is damaged, or holds what no stream writes.
    """
    pivot = next((row[0] for row in reader.select(_ANY_SCORE)), 0.0)  # squares of small differences lose no digits
    found, wrong = [], 0
    for index, span in enumerate(spans):
        within = replace(chosen, since_unix=span.since_unix, until_unix=span.until_unix)
        condition, values = within.clause("v.time_unix", **VERDICT_COLUMNS)
        statement = f"{_COUNTS} WHERE {condition} GROUP BY v.bundle"
        for row in reader.select(statement, [pivot] * 4 + values):
            wrong += row[6]
            found.append(row if wrong else _counts(index, row, pivot))
    if wrong:
        raise mistyped(reader.path, wrong)
    return [row for row in found if isinstance(row, BundleCounts)]


def check_times(reader: RecordReader) -> None:
    """Refuse records whose time is no time: any period would leave them out.

    Raises:
        DataError: There are such.
    """
    # Texts are above all numbers.
    statement = "SELECT count(*) FROM verdicts WHERE time_unix < 0 OR time_unix >= ?"
    if wrong := reader.select(statement, [MOST_UNIX])[0][0]:
        raise mistyped(reader.path, wrong)


def _counts(index: int, row: Sequence[float], pivot: float) -> BundleCounts:
    passed = int(row[3])
    total, squares = row[4] or 0.0, row[5] or 0.0
    if not passed or not squares + total * total < _MOST_SQUARES:
        return BundleCounts(index, str(row[0]), int(row[1]), int(row[2]), 0, math.nan, math.nan)
    variance = max(0.0, squares - total * total / passed) / (passed - 1) if passed > 1 else math.nan
    return BundleCounts(index, str(row[0]), int(row[1]), int(row[2]), passed, pivot + total / passed, variance)
