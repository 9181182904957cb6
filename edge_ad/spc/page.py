"""Statistics as data for programs, and as a page of one file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_ad.evaluation.charts import svg
from edge_ad.evaluation.page import markup, render
from edge_ad.outside_text import storable
from edge_ad.spc.charts import control_chart, pareto_chart, place_chart, plain_chart
from edge_ad.spc.control_charts import LAMBDA, Base, ControlChart
from edge_ad.spc.notes import base_words, span_words, warnings_of
from edge_ad.spc.run_rules import RULE_SETS
from edge_ad.spc.statistics import Statistics
from edge_ad.streaming.records.schema import finite, iso_time

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["render_statistics", "statistics_data"]

_MOST_MAPS = 4
_MOST_SIGNALS = 15


def statistics_data(found: Statistics) -> dict[str, Any]:
    """What was found, as data for JSON; a number that is not finite is None."""
    charts = {"ng_share": found.share, "mean_score": found.mean, "ewma_score": found.ewma}
    return {
        "period": _span(found.period.since_unix, found.period.until_unix),
        "base": _span(found.base.since_unix, found.base.until_unix) | {"is_given": found.is_base_given},
        "warnings": warnings_of(found),
        "rules": found.request.rules,
        "subgroup_s": found.width_s,
        "frames": found.frames,
        "ng": found.defective,
        "master_frames": {"period": found.master_frames[0], "base": found.master_frames[1]},
        "unjudged": found.unjudged,
        "bundles": list(found.bundles),
        "score_bundle": found.score_bundle,
        "charts": {name: None if chart is None else _chart(chart) for name, chart in charts.items()},
        "base_shares": _base(found.share_base),
        "base_scores": _base(found.mean_base),
        "subgroups": list(_subgroups(found)),
        "kinds": [{"name": name, "frames": count} for name, count in found.kinds],
        "places": [{"name": name, "ng": count} for name, count in found.pareto],
        "shifts": [{"name": each.name, "frames": each.frames, "ng": each.defective} for each in found.shifts],
    }


def render_statistics(found: Statistics, title: str, *, form: dict[str, Any] | None = None) -> str:
    """Render what was found as a complete HTML document.

    Args:
        found: The statistics.
        title: Name of the records.
        form: Values of the fields by which a reader chooses another period; None for a page without them.

    Raises:
        MissingDependencyError: matplotlib or Jinja is not installed.
    """
    signals = list(_signals(found))
    return render(
        "statistics.html",
        Path(__file__).with_name("templates"),
        title=storable(title),
        form=form,
        period=span_words(found.period.since_unix, found.period.until_unix),
        filters=list(_filters(found)),
        base=base_words(found),
        warnings=warnings_of(found),
        figures=list(_figures(found)),
        charts=list(_charts(found)),
        signals=signals[:_MOST_SIGNALS],
        older_signals=signals[_MOST_SIGNALS:],
        kinds=_pareto(found.kinds, "labelled frames"),
        labelled=sum(count for _, count in found.kinds),
        pareto=_pareto(found.pareto, "NG frames"),
        maps=[
            (each.source, each.photo is not None, markup(svg(place_chart(each), f"Regions of {each.source}")))
            for each in found.maps[:_MOST_MAPS]
        ],
        shifts=[
            [each.name, each.frames, each.defective, _percent(each.defective, each.frames)] for each in found.shifts
        ],
        unjudged=list(found.unjudged.items()),
        rules=[f"{rule.number}: {rule.text}" for rule in RULE_SETS[found.request.rules]],
        rule_set=found.request.rules,
    )


def _charts(found: Statistics) -> Iterator[tuple[str, str, Any]]:
    if not len(found.subgroups):
        return
    marked = [place for place in found.bundles.values() if place]
    groups, base = found.subgroups, found.share_base
    share = groups.defective / groups.frames
    kind, of_shares = "Laney p′ chart" if found.request.with_dispersion else "p chart", _base_figures(base, "p̄")
    if base is not None and base.centre == 0:
        kind, of_shares = "exact limits", f"Base: no NG in {base.size} frames."
    drawn = (
        (f"NG share ({kind})", of_shares, found.share, share, "NG share"),
        ("Mean score of what passed (X̄ chart)", _base_figures(found.mean_base, "x̿"), found.mean, groups.means, "score"),
        (f"EWMA of these means, λ = {LAMBDA}", "", found.ewma, None, "EWMA"),
    )  # fmt: skip
    for name, text, chart, values, label in drawn:
        is_share = label == "NG share"
        figure: Figure
        if chart is not None:
            figure = control_chart(chart, groups.spans, label, is_share=is_share, marked=marked)
        elif values is not None:
            figure = plain_chart(values, groups.spans, label, is_share=is_share, marked=marked)
        else:
            continue
        yield name, text if chart is not None else "No limits.", markup(svg(figure, name))


def _pareto(rows: Sequence[tuple[str, int]], unit: str) -> object:
    return markup(svg(pareto_chart(rows, unit), f"Pareto chart of {unit}")) if rows else ""


def _base_figures(base: Base | None, symbol: str) -> str:
    if base is None:
        return ""
    dispersion = f", σ of subgroups over σ inside them {base.dispersion:.2f}" if math.isfinite(base.dispersion) else ""
    return f"Base: {symbol} = {base.centre:.4g}, σ = {base.sigma:.4g}{dispersion}."


def _figures(found: Statistics) -> Iterator[tuple[str, str, str]]:
    yield (
        "Frames judged",
        f"{found.frames:,}".replace(",", "\u202f"),
        f"{len(found.subgroups)} subgroups of {_width(found.width_s)}",
    )
    yield "NG", f"{found.defective:,}".replace(",", "\u202f"), _percent(found.defective, found.frames)
    if found.share_base is not None:
        yield "NG in the base period", f"{found.share_base.centre:.2%}", f"{found.share_base.subgroups} subgroups"
    yield "Signals", str(len(list(_signals(found)))), "points that complete a pattern"
    if any(found.master_frames):
        period, base = found.master_frames
        yield "Master parts", str(period), f"frames, left out; {base} in the base period"
    if found.unjudged:
        yield "Not judged", str(sum(found.unjudged.values())), "frames"


def _signals(found: Statistics) -> Iterator[list[str]]:
    """A row for each point that completes patterns, the newest first."""
    for index in reversed(range(len(found.subgroups))):
        start = f"{datetime.fromtimestamp(found.subgroups.spans[index].since_unix):%Y-%m-%d %H:%M}"
        for name, chart in (("NG share", found.share), ("X̄", found.mean), ("EWMA", found.ewma)):
            rules = [] if chart is None else [each.rule for each in chart.signals if each.index == index]
            if chart is not None and rules:
                value = f"{chart.values[index]:.2%}" if name == "NG share" else f"{chart.values[index]:.4g}"
                yield [start, name, value, "; ".join(f"{rule.number}: {rule.text}" for rule in rules)]


def _filters(found: Statistics) -> Iterator[str]:
    request = found.request
    if request.source is not None:
        yield f"source {storable(request.source)}"
    if request.bundle is not None:
        yield f"bundle {storable(request.bundle)}"
    if request.recipe is not None:
        yield f"recipe {storable(request.recipe)}"
    if request.shifts:
        yield "shifts " + ", ".join(storable(shift.name) for shift in request.shifts)


def _subgroups(found: Statistics) -> Iterator[dict[str, Any]]:
    groups = found.subgroups
    for index, span in enumerate(groups.spans):
        yield _span(span.since_unix, span.until_unix) | {
            "frames": int(groups.frames[index]),
            "ng": int(groups.defective[index]),
            "passed": int(groups.passed[index]),
            "mean_score": finite(groups.means[index]),
        }


def _chart(chart: ControlChart) -> dict[str, Any]:
    columns = {"values": chart.values, "lower": chart.lower, "upper": chart.upper}
    signals = [{"subgroup": each.index, "rule": each.rule.number, "text": each.rule.text} for each in chart.signals]
    lists = {name: [finite(value) for value in column] for name, column in columns.items()}
    return {"centre": finite(chart.centre), **lists, "signals": signals}


def _base(base: Base | None) -> dict[str, Any] | None:
    if base is None:
        return None
    numbers = {"centre": base.centre, "sigma": base.sigma, "dispersion": finite(base.dispersion)}
    return {**numbers, "subgroups": base.subgroups, "outside": base.outside, "size": base.size}


def _span(since_unix: float, until_unix: float) -> dict[str, Any]:
    return {"since": iso_time(since_unix), "until": iso_time(until_unix)}


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "–"


def _width(seconds: float) -> str:
    for name, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds % length == 0:
            return f"{seconds / length:g} {name}"
    return f"{seconds:g} s"
