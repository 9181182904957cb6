"""``edge-ad threshold``: the thresholds of a bundle, shown, or set on good photos or by a person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_ad.cli.console import note, print_facts, print_json, print_table, user_name
from edge_ad.cli.options import BackendOption, BundleArgument, JsonOption, ThreadsOption, takes_groups
from edge_ad.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_ad.bundle import Bundle
    from edge_ad.evaluation.engine_threshold import GoodScores
    from edge_ad.evaluation.good_photos import GoodPhoto, GoodPhotos
    from edge_ad.evaluation.recalibration import Recalibrated, Scene
    from edge_ad.manifest import Precision, Threshold

__all__ = ["threshold"]


@dataclass(frozen=True)
class Where:
    """The bundle."""

    bundle: BundleArgument


@dataclass(frozen=True)
class Wanted:
    """What is set, and on which photos."""

    false_alarm_rate: Annotated[
        float | None, typer.Option("--false-alarm-rate", help="Share of good parts that may be called defective.")
    ] = None
    value: Annotated[
        float | None, typer.Option("--value", help="The raw score itself, for every graph; with photos, its bound.")
    ] = None
    folder: Annotated[
        Path | None,
        typer.Option("--from-good", "--from", metavar="DIR", help="Photos of good parts that you have looked at."),
    ] = None
    database: Annotated[
        Path | None,
        typer.Option("--from-records", metavar="DB", help="Records confirmed as good: edge-ad records confirm."),
    ] = None
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Of the records: from then on.")] = None
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Of the records: up to then.")] = None
    source: Annotated[str | None, typer.Option(help="Of the records: only of this source.")] = None
    region: Annotated[
        str | None, typer.Option("--region", metavar="X,Y,W,H", help="Part of each photo that the stream judges.")
    ] = None
    accept_scores: Annotated[
        bool, typer.Option("--accept-scores", help="Set it though most of these photos are above the old threshold.")
    ] = False
    accept_scene: Annotated[
        bool, typer.Option("--accept-scene", help="Take the light of these photos as the right one from now on.")
    ] = False

    @property
    def has_photos(self) -> bool:
        """Whether photos were named."""
        return self.folder is not None or self.database is not None


@dataclass(frozen=True)
class Work:
    """How it is done, and by whom."""

    backend: BackendOption = "auto"
    threads: ThreadsOption = 0
    by: Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who does it, for the audit entry.")] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would do, and change nothing.")] = False
    as_json: JsonOption = False


@takes_groups
def threshold(where: Where, wanted: Wanted, work: Work) -> None:
    """Show the thresholds of a bundle, or set them: on photos of good parts, or to a value that a person gives.

    Photos are scored by the engines of this machine. Photos that were trained on, and a second one of the same thing,
    are left out; photos of another shape or depth, unreadable ones and fewer than twenty are refused, and so are those
    most of which were defective so far, unless --accept-scores or --accept-scene says that they are good. Without
    --from-good and --from-records, --false-alarm-rate takes the held-out photos of the run that the bundle lies in.
    Old and new thresholds, who set them and from what go into audit.jsonl of the bundle.
    """
    from edge_ad.bundle import Bundle

    bundle = Bundle.open(where.bundle)
    _check(wanted)
    if wanted.has_photos or wanted.false_alarm_rate is not None:
        _set_on_photos(bundle, wanted, work)
    elif wanted.value is not None:
        _set_value(bundle, wanted.value, work)
    else:
        _show(bundle, as_json=work.as_json)


def _check(wanted: Wanted) -> None:
    if wanted.folder is not None and wanted.database is not None:
        raise UsageError("The photos are in two places.", "Give either --from-good DIR or --from-records DB.")
    if wanted.value is not None and wanted.false_alarm_rate is not None:
        raise UsageError("--value and --false-alarm-rate exclude each other.", "Give one of them.")
    if wanted.database is None and (wanted.since, wanted.until, wanted.source) != (None, None, None):
        raise UsageError("--since, --until and --source choose records.", "Leave them out, or give --from-records DB.")


def _show(bundle: Bundle, *, as_json: bool) -> None:
    from edge_ad.evaluation.thresholds import good_images_needed

    found = {precision: graph.threshold for precision, graph in bundle.manifest.graphs.items()}
    needed = {precision: good_images_needed(item.false_alarm_rate) for precision, item in found.items()}
    if as_json:
        graphs = {name: item.model_dump() | {"photos_needed": needed[name]} for name, item in found.items()}
        print_json({"bundle": bundle.root, "graphs": graphs})
        return
    columns = ["precision", "threshold", "asked rate", "bound", "good photos", "needed"]
    rows = [
        [name, item.value, item.false_alarm_rate, item.false_alarm_bound, item.good_images, needed[name]]
        for name, item in found.items()
    ]
    print_table(columns, rows)
    _print_rules(found)


def _set_value(bundle: Bundle, value: float, work: Work) -> None:
    from edge_ad.evaluation.recalibration import apply_value, given_thresholds

    by = work.by or user_name()
    old = {precision: graph.threshold for precision, graph in bundle.manifest.graphs.items()}
    new = given_thresholds(bundle, value, by=by)
    if not work.dry_run:
        bundle = apply_value(bundle, new, by=by)
    if work.as_json:
        graphs = {name: {"old": old[name], "new": new[name]} for name in new}
        print_json({"bundle": bundle.root, "written": not work.dry_run, "graphs": graphs})
    else:
        print_table(["precision", "threshold", "new"], [[name, old[name].value, new[name].value] for name in new])
        _print_rules(new)
    _tell_written(bundle, dry_run=work.dry_run)


def _set_on_photos(bundle: Bundle, wanted: Wanted, work: Work) -> None:
    from edge_ad.evaluation.good_photos import read_good_photos
    from edge_ad.evaluation.recalibration import apply, compare_scene, recalibrate

    found, origin, good = _photos(bundle, wanted)
    photos = read_good_photos(found, bundle.manifest, are_held_out=good is not None)
    by = work.by or user_name()
    results = recalibrate(
        bundle,
        photos,
        false_alarm_rate=wanted.false_alarm_rate,
        good=good,
        value=wanted.value,
        by=by,
        backend=work.backend,
        threads=work.threads,
        log=note,
    )
    scene = compare_scene(bundle, photos)
    if not work.dry_run:
        if wanted.folder is not None and wanted.value is None and not (wanted.accept_scores or wanted.accept_scene):
            _check_plausible(results)
        limits = scene.limits if wanted.accept_scene else None
        bundle = apply(bundle, results, photos, by=by, origin=str(origin.resolve()), scene=limits)
    if work.as_json:
        print_json(_document(bundle, results, photos, scene, dry_run=work.dry_run))
    else:
        _print(results, photos)
    if scene.change and not wanted.accept_scene:
        note(
            f"These photos are {scene.change}, against those that were trained on: streams go on telling so. Put the "
            "light right, train again, or take it as the right one with --accept-scene."
        )
    _tell_written(bundle, dry_run=work.dry_run)


def _check_plausible(results: Sequence[Recalibrated]) -> None:
    """Refuse photos most of which were defective so far: a folder of defects would let defects pass."""
    for result in results:
        if 2 * result.false_alarms_before > result.photos:
            raise DataError(
                f"{result.false_alarms_before} of {result.photos} photos are above the {result.precision} threshold of "
                f"{result.old.value:.4g}: of defects or of another product, they would set one that passes defects.",
                "Look at them: --dry-run names the highest. Are all good parts of this product? Add --accept-scores.",
            )


def _photos(bundle: Bundle, wanted: Wanted) -> tuple[list[GoodPhoto], Path, GoodScores | None]:
    """The photos that were asked for, where they are from and, of a run, what else sets its thresholds."""
    from edge_ad.cli.record_times import time_from_text
    from edge_ad.evaluation.good_photos import photos_of_folder, photos_of_records, photos_of_run
    from edge_ad.streaming.filters import Region
    from edge_ad.streaming.records.reader import RecordFilter

    part = None if wanted.region is None else Region.parse(wanted.region)
    if wanted.folder is not None:
        return photos_of_folder(wanted.folder, part), wanted.folder, None
    if wanted.database is None:
        assert wanted.false_alarm_rate is not None
        held_out, good = photos_of_run(bundle.root, false_alarm_rate=wanted.false_alarm_rate, region=part)
        return held_out, bundle.root.absolute().parent, good
    since, until = (time_from_text(wanted.since, option="--since"), time_from_text(wanted.until, option="--until"))
    chosen = RecordFilter(since, until, wanted.source)
    return photos_of_records(wanted.database, chosen, part), wanted.database, None


def _document(
    bundle: Bundle, results: Sequence[Recalibrated], photos: GoodPhotos, scene: Scene, *, dry_run: bool
) -> dict[str, object]:
    return {
        "bundle": bundle.root,
        "written": not dry_run,
        "photos": len(photos.images),
        "duplicates": photos.duplicates,
        "trained_on": photos.trained_on,
        "scene_change": scene.change,
        "graphs": results,
    }


def _print(results: Sequence[Recalibrated], photos: GoodPhotos) -> None:
    from edge_ad.evaluation.thresholds import good_images_needed

    facts = {
        "photos": len(photos.images),
        "left out": f"{photos.duplicates} that show the same again, {photos.trained_on} trained on",
    }
    print_facts(facts)
    columns = ["precision", "engine", "threshold", "new", "false alarms", "new", "asked rate", "bound", "needed"]
    rows = [
        [
            result.precision,
            result.engine,
            result.old.value,
            result.new.value,
            f"{result.false_alarms_before} of {result.photos}",
            f"{result.false_alarms_after} of {result.photos}",
            result.new.false_alarm_rate,
            result.new.false_alarm_bound,
            good_images_needed(result.new.false_alarm_rate),
        ]
        for result in results
    ]
    print_table(columns, rows, title="\nThresholds")
    _print_rules({result.precision: result.new for result in results})
    for result in results:
        if result.highest:
            names = ", ".join(f"{name} {score:.4g}" for name, score in result.highest)
            note(f"Highest above the old {result.precision} threshold: {names}. Make sure that these parts are good.")


def _print_rules(thresholds: dict[Precision, Threshold]) -> None:
    print_facts({f"{precision} rule": threshold.rule for precision, threshold in thresholds.items()})


def _tell_written(bundle: Bundle, *, dry_run: bool) -> None:
    if dry_run:
        note("Nothing was changed (--dry-run).")
        return
    note(f"Written to {bundle.root}, with an entry in audit.jsonl.")
    note(
        "A stream with --watch-bundle notices, verifies its engine and takes the new thresholds over; another one goes "
        "on with the old ones until it is started again."
    )
