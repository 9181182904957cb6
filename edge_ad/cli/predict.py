"""``edge-ad predict``: a verdict on each photo."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edge_ad.cli.console import note, print_document, print_table, show_count
from edge_ad.cli.options import (
    AnyProductOption,
    BackendOption,
    JsonOption,
    PlainHttpOption,
    PrecisionOption,
    TargetArgument,
    ThreadsOption,
    TrustOption,
)

if TYPE_CHECKING:
    from edge_ad.detector import Detector
    from edge_ad.verdict_report import PhotoVerdict

__all__ = ["predict"]

_THRESHOLD_HELP = "Raw score above which a photo is NG; by default the bundle's own."


def predict(
    target: TargetArgument,
    photos: Annotated[
        list[str], typer.Argument(metavar="PHOTO|FOLDER|PATTERN...", help="Photos, folders with all inside, patterns.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="New folder for overlays, heat maps, CSV, JSON lines and a page."),
    ] = None,
    form: Annotated[
        Literal["table", "csv", "jsonl"], typer.Option("--format", help="How the verdicts are printed.")
    ] = "table",
    threshold: Annotated[float | None, typer.Option(help=_THRESHOLD_HELP)] = None,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = 0,
    trust: TrustOption = None,
    plain_http: PlainHttpOption = False,
    any_product: AnyProductOption = False,
    as_json: JsonOption = False,
) -> None:
    """Judge photos.

    A photo that cannot be read, or is of another shape or depth than those that were trained on, is unjudged: it is
    named, the others are judged, and the command ends with 2.
    """
    from edge_ad.cli.bundle_places import opened_detector
    from edge_ad.cli.stream_options import Registry, StreamEngine
    from edge_ad.errors import DataError
    from edge_ad.verdict_report import check_output, list_photos

    paths = list_photos(photos)
    if out is not None:
        check_output(out, photos)
    engine = StreamEngine(backend=backend, precision=precision, threads=threads, takes_any_product=any_product)
    with opened_detector(target, engine, Registry(trust, plain_http), _bundle) as detector:
        if threshold is not None:
            detector.threshold = threshold
        note(f"Judging {len(paths)} photos with {detector.engine} at threshold {detector.threshold:.6g}.")
        try:
            verdicts, page = _judge(detector, paths, out)
        except KeyboardInterrupt:
            note("Stopped: nothing is left in " + str(out) if out is not None else "Stopped.")
            raise
    _print(verdicts, "jsonl" if as_json else form)
    defective = sum(verdict.verdict == "NG" for verdict in verdicts)
    unjudged = [verdict for verdict in verdicts if verdict.reason]
    note(f"{defective} NG, {len(verdicts) - defective - len(unjudged)} OK, {len(unjudged)} unjudged.")
    if page is not None:
        note(f"Page: {page}")
    if unjudged:
        raise DataError(
            f"{len(unjudged)} of {len(verdicts)} photos could not be judged, such as {unjudged[0].path}: "
            f"{unjudged[0].reason.rstrip('.')}.",
            "They are listed as unjudged; the others were judged.",
        )


def _judge(detector: Detector, paths: list[Path], out: Path | None) -> tuple[list[PhotoVerdict], Path | None]:
    """The verdicts, and the page with them where a folder for it is named."""
    from edge_ad.verdict_report import VerdictFolder, judge_photos

    verdicts: list[PhotoVerdict] = []
    with nullcontext() if out is None else VerdictFolder.create(out, detector.engine) as folder:
        for verdict, result in judge_photos(detector, paths):
            verdicts.append(verdict)
            if folder is not None:
                folder.add(verdict, result)
            show_count(len(verdicts), len(paths))
        return verdicts, None if folder is None else folder.finish()


def _bundle(target: Path) -> Path:
    """The bundle that is meant; a run that holds none, or an old one, is exported first."""
    if (target / "manifest.json").is_file() or not (target / "run.json").is_file():
        return target
    from edge_ad.export.bundle_export import export_run, is_current
    from edge_ad.training.runs import load_run

    run = load_run(target)
    return (is_current(run) or export_run(run, note)).root


def _print(verdicts: list[PhotoVerdict], form: str) -> None:
    from edge_ad.strict_json import to_json

    if form == "table":
        rows = [
            [verdict.path, verdict.verdict, verdict.score, len(verdict.regions), verdict.reason] for verdict in verdicts
        ]
        print_table(["photo", "verdict", "score", "regions", "reason"], rows)
        return
    documents = [verdict.to_dict() for verdict in verdicts]
    if form == "jsonl":
        print_document("".join(f"{to_json(document)}\n" for document in documents))
        return
    from edge_ad.streaming.records.export import csv_lines
    from edge_ad.verdict_report import COLUMNS

    print_document(csv_lines(documents, COLUMNS, has_header=True))
