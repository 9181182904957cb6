"""Statistics of a period of recorded verdicts: control charts against a base period, Pareto, places and shifts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from edge_ad.outside_text import storable
from edge_ad.spc.control_charts import (
    Base,
    ControlChart,
    ewma_chart,
    mean_base,
    mean_chart,
    share_base,
    share_chart,
)
from edge_ad.spc.exact_limits import exact_share_chart
from edge_ad.spc.kinds import count_kinds
from edge_ad.spc.periods import (
    StatisticsRequest,
    base_period,
    checked_spans,
    fitting_width,
    judged_period,
    width_for_ng,
)
from edge_ad.spc.places import PlaceMap, count_places, place_maps, read_boxes
from edge_ad.spc.run_rules import RULE_SETS, RunRule
from edge_ad.spc.shifts import Shift, Span
from edge_ad.spc.subgroups import BundleCounts, Subgroups, check_times, read_counts
from edge_ad.streaming.golden.master_frames import master_frames
from edge_ad.streaming.records.reader import RecordFilter, RecordReader

__all__ = ["ShiftCounts", "Statistics", "statistics_of"]


@dataclass(frozen=True)
class ShiftCounts:
    """Frames of one shift in the whole period, and NG among them."""

    name: str
    frames: int
    defective: int


@dataclass(frozen=True)
class Statistics:
    """What was found.

    Attributes:
        request: What was asked for.
        period: The period.
        base: The base period.
        is_base_given: Whether somebody named it.
        width_s: Length of a subgroup, in seconds.
        subgroups: Of the period.
        score_bundle: Hash of the bundle whose scores are charted; empty where nothing was judged.
        bundles: Hash → index of the first subgroup with it.
        share_base: Of NG frames in the base period; None where it has no frames.
        mean_base: Of the scores in it; None where it has no two of that bundle in a subgroup.
        share: p chart, or that with exact limits; None without its base.
        mean: X̄ chart; None without its base.
        ewma: EWMA chart; None without its base.
        kinds: What people said the frames were, and how many; empty where nobody labelled any.
        pareto: Place of defects, and NG frames with it; most frequent first.
        maps: Where regions were, by source.
        shifts: Each shift by itself.
        unjudged: Reason → frames that were not judged in the minutes of the period.
        master_frames: Frames of master parts that are left out everywhere: in the period, and in the base period.
    """

    request: StatisticsRequest
    period: Span
    base: Span
    is_base_given: bool
    width_s: float
    subgroups: Subgroups
    score_bundle: str
    bundles: dict[str, int]
    share_base: Base | None
    mean_base: Base | None
    share: ControlChart | None
    mean: ControlChart | None
    ewma: ControlChart | None
    kinds: list[tuple[str, int]]
    pareto: list[tuple[str, int]]
    maps: list[PlaceMap]
    shifts: list[ShiftCounts]
    unjudged: dict[str, int]
    master_frames: tuple[int, int]

    @property
    def frames(self) -> int:
        """Judged frames of the production."""
        return int(self.subgroups.frames.sum())

    @property
    def defective(self) -> int:
        """NG frames."""
        return int(self.subgroups.defective.sum())


def statistics_of(reader: RecordReader, request: StatisticsRequest) -> Statistics:
    """Compute the statistics of a period.

    Args:
        reader: The records.
        request: What is asked for.

    Raises:
        UsageError: A period that ends before it starts, shifts that overlap, or far too many subgroups.
        DataError: The database is damaged, or nothing matches.
    """
    check_times(reader)
    period = judged_period(reader, request)
    base, is_given = base_period(request, period)
    masters = master_frames(reader, min(period.since_unix, base.since_unix))
    chosen = RecordFilter(source=request.source, bundle=request.bundle, recipe=request.recipe, without=masters)
    width_s = request.width_s or fitting_width(period, base, request.shifts)
    read = partial(_read, reader, chosen=chosen, shifts=request.shifts)
    (spans, counts), (base_spans, base_counts) = read(period, width_s), read(base, width_s, is_base=True)
    if request.width_s is None and (wider_s := width_for_ng(spans, counts, base_counts, width_s)) > width_s:
        width_s = wider_s
        (spans, counts), (base_spans, base_counts) = read(period, width_s), read(base, width_s, is_base=True)
    bundle = _most_frames(counts)
    found, before = Subgroups.of(spans, counts, bundle), Subgroups.of(base_spans, base_counts, bundle)
    shares, means = _share_base(before), _mean_base(before)
    rules, wide = RULE_SETS[request.rules], request.with_dispersion
    of_means = (found.means, found.passed)
    boxes = read_boxes(reader, spans, chosen)
    maps = place_maps(reader, boxes, period, masters)
    return Statistics(
        request,
        period,
        base,
        is_given,
        width_s,
        found,
        bundle,
        _first_subgroups(counts),
        shares,
        means,
        share=None if shares is None else _share_chart(found, shares, rules, wide),
        mean=None if means is None else mean_chart(*of_means, means, rules, with_dispersion=wide),
        ewma=None if means is None else ewma_chart(*of_means, means, rules, with_dispersion=wide),
        kinds=count_kinds(reader, spans, chosen),
        pareto=count_places(boxes, {each.source: each.size_wh for each in maps}),
        maps=maps,
        shifts=_by_shift(spans, counts, request.shifts, period),
        unjudged=_unjudged(reader, spans, request.source),
        master_frames=(_left_out(reader, spans, chosen), _left_out(reader, base_spans, chosen)),
    )


def _read(
    reader: RecordReader,
    period: Span,
    width_s: float,
    *,
    chosen: RecordFilter,
    shifts: Sequence[Shift],
    is_base: bool = False,
) -> tuple[list[Span], list[BundleCounts]]:
    spans = checked_spans(period, width_s, shifts, is_base=is_base)
    return spans, read_counts(reader, spans, chosen)


def _most_frames(counts: Sequence[BundleCounts]) -> str:
    frames: Counter[str] = Counter()
    for row in counts:
        frames[row.bundle] += row.frames
    return frames.most_common(1)[0][0] if frames else ""


def _first_subgroups(counts: Sequence[BundleCounts]) -> dict[str, int]:
    """Bundle → place of its first subgroup among those that have records."""
    place = {subgroup: index for index, subgroup in enumerate(sorted({row.subgroup for row in counts}))}
    first: dict[str, int] = {}
    for row in counts:
        first.setdefault(row.bundle, place[row.subgroup])
    return first


def _share_base(before: Subgroups) -> Base | None:
    return share_base(before.defective, before.frames) if len(before) else None


def _mean_base(before: Subgroups) -> Base | None:
    has_scores = before.passed > 0
    if not has_scores.any():
        return None
    return mean_base(before.means[has_scores], before.variances[has_scores], before.passed[has_scores])


def _share_chart(found: Subgroups, base: Base, rules: tuple[RunRule, ...], wide: bool) -> ControlChart | None:
    """A p chart, or exact limits where the base has no NG; of one with nothing else, no limits follow."""
    if base.centre == 0:
        return exact_share_chart(found.defective, found.frames, base.size, rules[0])
    if base.centre == 1:
        return None
    return share_chart(found.defective, found.frames, base, rules, with_dispersion=wide)


def _by_shift(
    spans: Sequence[Span], counts: Sequence[BundleCounts], shifts: Sequence[Shift], period: Span
) -> list[ShiftCounts]:
    made = []
    for shift in shifts:
        times = shift.spans(period)
        inside = {
            index
            for index, span in enumerate(spans)
            if any(each.since_unix <= span.since_unix < each.until_unix for each in times)
        }
        rows = [row for row in counts if row.subgroup in inside]
        made.append(ShiftCounts(shift.name, sum(row.frames for row in rows), sum(row.defective for row in rows)))
    return made


def _left_out(reader: RecordReader, spans: Sequence[Span], chosen: RecordFilter) -> int:
    within = (replace(chosen, since_unix=span.since_unix, until_unix=span.until_unix) for span in spans)
    return sum(map(reader.count_left_out, within))


def _unjudged(reader: RecordReader, spans: Sequence[Span], source: str | None) -> dict[str, int]:
    """Frames that were not judged; recorded by the minute, which counts where it starts, and not by bundle."""
    counts: Counter[str] = Counter()
    for span in spans:
        chosen = RecordFilter(span.since_unix, span.until_unix, source)
        condition, values = chosen.clause("minute_unix", source="source")
        for reason, frames in reader.select(
            f"SELECT reason, sum(frames) FROM unjudged WHERE {condition} GROUP BY reason", values
        ):
            counts[storable(str(reason))] += frames
    return dict(counts.most_common())
