"""What a reader of statistics must know to trust them: where the limits come from, and what speaks against them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime

from edge_ad.spc.control_charts import Base
from edge_ad.spc.exact_limits import is_more_than_chance, share_bound
from edge_ad.spc.periods import LEAST_NG
from edge_ad.spc.statistics import Statistics

__all__ = ["base_words", "span_words", "warnings_of"]

_LEAST_SUBGROUPS = 20
_MUCH_DISPERSION = 1.4
_SHARE_OUTSIDE = 0.01


def span_words(since_unix: float, until_unix: float) -> str:
    """``2026-11-22 06:00 to 2026-11-23 06:00``, local time."""
    return " to ".join(f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}" for at in (since_unix, until_unix))


def base_words(found: Statistics) -> str:
    """Which period the limits come from."""
    when = span_words(found.base.since_unix, found.base.until_unix)
    what = "the base period that was named" if found.is_base_given else "the seven days before this period"
    size = "" if found.share_base is None else f", {found.share_base.subgroups} subgroups"
    return f"Limits come from {what}: {when}{size}."


def warnings_of(found: Statistics) -> list[str]:
    """What speaks against the limits, or is left out of the charts; one sentence or two each."""
    if not found.frames:
        return ["No records match: look at the period, and at the names of source, bundle and recipe."]
    return [*_base_period(found), *_share(found), *_scores(found)]


def _base_period(found: Statistics) -> Iterator[str]:
    if found.share_base is None:
        yield (
            "There are no records in the base period, so there are no limits. "
            "Name one: Limits from and to on the page, --base-since and --base-until in the terminal."
        )
        return
    if found.is_base_given and found.base.until_unix > found.period.since_unix and (
        found.base.since_unix < found.period.until_unix
    ):  # fmt: skip
        yield "The base period overlaps the period that is judged: what is wrong in both cannot be seen."
    if found.share_base.subgroups < _LEAST_SUBGROUPS:
        few = found.share_base.subgroups
        yield f"The base period has {few} subgroups; {_LEAST_SUBGROUPS} or more are usual for limits."
    for name, base in (("NG share", found.share_base), ("Mean score", found.mean_base)):
        if base is not None:
            yield from _stability(name, base, is_wide=found.request.with_dispersion)


def _stability(name: str, base: Base, *, is_wide: bool) -> Iterator[str]:
    if math.isfinite(base.dispersion) and base.dispersion > _MUCH_DISPERSION:
        yield (
            f"{name}: subgroups of the base period differ {base.dispersion:.1f} times as much as what varies inside "
            "them makes. "
            + (
                "The limits are widened by that."
                if is_wide
                else "Limits between subgroups (--between-subgroups) are wider by that."
            )
        )
    if base.outside > max(1, _SHARE_OUTSIDE * base.subgroups) and not is_wide:
        count = f"{base.outside} of {base.subgroups} subgroups"
        yield f"{name}: {count} of the base period are beyond their own limits, so it was not stable."


def _share(found: Statistics) -> Iterator[str]:
    base = found.share_base
    if base is None:
        return
    if found.share is None:
        yield "No limits for the NG share follow from a base period in which all were NG."
        return
    if base.centre == 0:
        yield from _share_without_ng(found, base)
        return
    usual = float(sorted(found.subgroups.frames)[len(found.subgroups) // 2]) if len(found.subgroups) else 0.0
    if usual * base.centre < LEAST_NG:
        yield (
            f"In a usual subgroup {usual * base.centre:.1f} NG are expected; below {LEAST_NG:g} a single one can be a "
            "false signal. "
            f"Take subgroups of {math.ceil(LEAST_NG / base.centre)} frames or more: Subgroup (--subgroup)."
        )


def _share_without_ng(found: Statistics, base: Base) -> Iterator[str]:
    yield (
        f"None of {base.size} frames of the base period was NG: the share was below {100 * share_bound(base.size):.2g} "
        "%, with 95 % confidence (rule of three). A point is beyond its limit when chance brings so many NG into one "
        "of 740 such subgroups at most, if the share is the same. Longer subgroups find smaller changes."
    )
    if is_more_than_chance(found.defective, found.frames, base.size):
        yield (
            f"Over the whole period the share is higher than in the base period: {found.defective} NG in "
            f"{found.frames} frames come by chance in one of 740 such periods at most."
        )


def _scores(found: Statistics) -> Iterator[str]:
    if len(found.bundles) > 1:
        yield (
            f"{len(found.bundles)} bundles judged in this period. Scores are those of {found.score_bundle[:12]} alone, "
            "which judged most frames; Bundle (--bundle) chooses."
        )
    if found.share_base is not None and found.mean_base is None and len(found.subgroups):
        yield "The base period has no scores of this bundle, so there are no limits for them."
