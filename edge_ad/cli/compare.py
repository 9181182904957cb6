"""``edge-ad compare``: detectors side by side on the same test photos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_ad.cli.console import note, print_json, print_line, print_table, show_count
from edge_ad.cli.options import (
    BackendOption,
    DefectOption,
    GoodOption,
    JsonOption,
    MasksOption,
    PrecisionOption,
    ThreadsOption,
    named_folders,
)
from edge_ad.errors import DataError, UsageError

if TYPE_CHECKING:
    from edge_ad.data.products import Folders
    from edge_ad.evaluation.comparison import Candidate, Comparison
    from edge_ad.evaluation.evaluate import LoadedPredictor

__all__ = ["compare"]

_MOST_SHOWN = 20


def compare(
    targets: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|BUNDLE|JSON...", help="Runs, bundles, files of evaluate --json and benchmark --json"
        ),
    ],
    data: Annotated[Path | None, typer.Option(help="Folder of the product, with test photos.")] = None,
    good: GoodOption = None,
    defect: DefectOption = None,
    masks: MasksOption = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time to measure the latency of each for.")] = 2.0,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare detectors: accuracy, false alarms and recall at their thresholds, latency, size, and where they differ.

    Latencies of folders are measured one after the other in this process: for a claim, use benchmark. A file of
    ``benchmark --json`` gives its latency to the evaluation that is named before it.
    """
    from edge_ad.evaluation.comparison import compare as put_side_by_side
    from edge_ad.evaluation.comparison import read_documents

    folders = named_folders(good, defect, masks)
    found: list[Candidate] = []
    documents: list[tuple[str, object]] = []
    for target in targets:
        if target.is_file():
            documents.append((str(target), _read(target)))
            continue
        if not (data or folders.good or folders.defects):
            raise UsageError("Say what to test with.", "edge-ad compare A B --data FOLDER")
        found.append(_measured(target, data, folders, seconds, (backend, precision, threads)))
    comparison = put_side_by_side([*found, *read_documents(documents)])
    if as_json:
        print_json(comparison.to_json())
    else:
        _print(comparison)


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON.", "Save evaluate --json into a file.") from error


def _measured(
    target: Path, data: Path | None, folders: Folders, seconds: float, engine: tuple[str, str, int]
) -> Candidate:
    from edge_ad.data.products import open_product
    from edge_ad.evaluation.comparison import Candidate, folder_bytes
    from edge_ad.evaluation.evaluate import evaluate_loaded
    from edge_ad.training.predictor import open_predictor, trained_on

    backend, precision, threads = engine
    seen = trained_on(target)
    with open_predictor(target, backend=backend, precision=precision, threads=threads) as predictor:
        product = open_product(data, folders, part="test", trained_on=seen)
        note(f"Scoring {len(product.test)} test images with {target} ({predictor.engine}).")
        evaluation = evaluate_loaded(predictor, product, trained_on=seen, progress=show_count)
        latency = _latency(predictor, [sample.path for sample in product.test], seconds)
    if evaluation.seen:
        note(f"warning: {target}: {evaluation.seen_words}.")
    if evaluation.unjudged:
        note(f"warning: {target}: {evaluation.unjudged_words}.")
    return Candidate.of_document(str(target), evaluation.to_json(), latency_ms=latency, size_bytes=folder_bytes(target))


def _latency(predictor: LoadedPredictor, paths: list[Path], seconds: float) -> float:
    from itertools import cycle

    from edge_ad.images import read_image
    from edge_ad.runtime.timing import measure

    photos = predictor.photos
    frames = cycle([read_image(path, photos.significant_bits) for path in paths[:16]])
    judged = measure(
        lambda: predictor.predict(photos.prepare(next(frames), predictor.size_hw).image[None]), min_seconds=seconds
    )
    return judged.p50_ms


def _print(comparison: Comparison) -> None:
    rows = [
        [
            item.name,
            item.engine,
            item.metrics.get("image_auroc"),
            item.metrics.get("pixel_auroc"),
            item.metrics.get("pro"),
            _rate(item.counted(is_defective=False)),
            _rate(item.counted(is_defective=True)),
            item.latency_ms,
            None if item.size_bytes is None else item.size_bytes / 1e6,
        ]
        for item in comparison.candidates
    ]
    columns = ["detector", "engine", "image_auroc", "pixel_auroc", "pro", "false alarms", "found", "ms", "MB"]
    print_table(columns, rows)
    if any(not item.called for item in comparison.candidates):
        print_line("A run has no threshold: export it to see its false alarms.")
    shown = comparison.disagreements[:_MOST_SHOWN]
    if not shown:
        print_line("They agree on every photo.")
        return
    print_table(
        ["photo", "truth", "called defective by"],
        [[item.path, item.defect_type or "good", ", ".join(item.called_by)] for item in shown],
        title=f"\nPhotos on which they differ ({len(comparison.disagreements)})",
    )
    if left := len(comparison.disagreements) - len(shown):
        print_line(f"and {left} more; --json lists all")


def _rate(counted: tuple[int, int] | None) -> str | None:
    return None if counted is None else f"{counted[0]} of {counted[1]}"
