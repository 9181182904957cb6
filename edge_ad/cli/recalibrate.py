"""``edge-ad recalibrate``: the thresholds of a bundle, set again on confirmed good photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_ad.cli.console import note, print_facts, print_json, print_table, user_name
from edge_ad.cli.options import BackendOption, BundleArgument, JsonOption, ThreadsOption
from edge_ad.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_ad.bundle import Bundle
    from edge_ad.evaluation.good_photos import GoodPhoto, GoodPhotos
    from edge_ad.evaluation.recalibration import Recalibrated, Scene

__all__ = ["recalibrate"]


def recalibrate(
    bundle: BundleArgument,
    folder: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Photos of good parts that you have looked at.")
    ] = None,
    database: Annotated[
        Path | None,
        typer.Option("--from-records", metavar="DB", help="Records confirmed as good: edge-ad records confirm."),
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Of the records: from then on.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Of the records: up to then.")] = None,
    source: Annotated[str | None, typer.Option(help="Of the records: only of this source.")] = None,
    region: Annotated[
        str | None, typer.Option("--region", metavar="X,Y,W,H", help="Part of each photo that the stream judges.")
    ] = None,
    false_alarm_rate: Annotated[
        float | None, typer.Option("--false-alarm-rate", help="Share of good parts; as before if not given.")
    ] = None,
    backend: BackendOption = "auto",
    threads: ThreadsOption = 0,
    accept_scene: Annotated[
        bool, typer.Option("--accept-scene", help="Take the light of these photos as the right one from now on.")
    ] = False,
    by: Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who does it, for the audit entry.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would do, and change nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Set the threshold of every graph of a bundle again, on photos of good parts that a person has confirmed.

    The photos are scored by the engines of this machine. Photos that were trained on, and a second copy of a file, are
    left out; photos of another shape or depth, unreadable ones and fewer than twenty are refused. Old and new
    thresholds, the false alarms of these photos at both, who did it and from what go into audit.jsonl of the bundle.
    """
    from edge_ad.bundle import Bundle
    from edge_ad.evaluation.good_photos import read_good_photos
    from edge_ad.evaluation.recalibration import apply, compare_scene
    from edge_ad.evaluation.recalibration import recalibrate as score

    opened = Bundle.open(bundle)
    photos = read_good_photos(_photos(folder, database, region, since, until, source), opened.manifest)
    results = score(opened, photos, false_alarm_rate=false_alarm_rate, backend=backend, threads=threads, log=note)
    scene = compare_scene(opened, photos)
    if not dry_run:
        limits = scene.limits if accept_scene else None
        origin = str((folder or database or Path()).resolve())
        opened = apply(opened, results, photos, by=by or user_name(), origin=origin, scene=limits)
    if as_json:
        print_json(_document(opened, results, photos, scene, dry_run=dry_run))
    else:
        _print(results, photos)
    _tell(opened, scene, dry_run=dry_run, accept_scene=accept_scene)


def _photos(
    folder: Path | None,
    database: Path | None,
    region: str | None,
    since: str | None,
    until: str | None,
    source: str | None,
) -> list[GoodPhoto]:
    from edge_ad.cli.records import time_from_text
    from edge_ad.evaluation.good_photos import photos_of_folder, photos_of_records
    from edge_ad.streaming.filters import Region
    from edge_ad.streaming.records.reader import RecordFilter

    if (folder is None) == (database is None):
        raise UsageError("Say where the photos are: in one place.", "Give either --from DIR or --from-records DB.")
    part = None if region is None else Region.parse(region)
    chosen = RecordFilter(time_from_text(since, option="--since"), time_from_text(until, option="--until"), source)
    if database is not None:
        return photos_of_records(database, chosen, part)
    if chosen != RecordFilter():
        raise UsageError("--since, --until and --source choose records.", "Leave them out, or give --from-records DB.")
    assert folder is not None
    return photos_of_folder(folder, part)


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
    facts = {"photos": len(photos.images), "left out": f"{photos.duplicates} twice, {photos.trained_on} trained on"}
    print_facts(facts)
    columns = ["precision", "engine", "threshold", "new", "false alarms", "new", "asked rate", "bound"]
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
        ]
        for result in results
    ]
    print_table(columns, rows, title="\nThresholds")
    print_facts({f"{result.precision} rule": result.new.rule for result in results})


def _tell(bundle: Bundle, scene: Scene, *, dry_run: bool, accept_scene: bool) -> None:
    if scene.change and not accept_scene:
        note(
            f"These photos are {scene.change}, against those that were trained on: streams go on telling so. Put the "
            "light right, train again, or take it as the right one with --accept-scene."
        )
    if dry_run:
        note("Nothing was changed (--dry-run).")
        return
    note(f"Written to {bundle.root}, with an entry in audit.jsonl.")
    note(
        "A stream with --watch-bundle takes the new thresholds over within a second; another one goes on with the old "
        "ones until it is started again."
    )
