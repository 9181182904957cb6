"""``edge-ad evaluate``: metrics of a run or a bundle on a product's test images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edge_ad.cli.console import note, print_facts, print_json, print_line, print_table, show_count
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

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_ad.evaluation.report import Reconstruct
    from edge_ad.evaluation.results import Decisions, Evaluation, Rate

__all__ = ["evaluate"]

_SHIFT_HELP = (
    "Measure on shifted photos: line, imagenet-c[:SEVERITY,...] or KIND[:STEP,...], such as gain:0.8,1.25. Repeatable."
)
_SHIFT_AT_HELP = "Shift photos at their own resolution (file), or after resizing (network)."
_REQUIRE_HELP = (
    "With --shift, in quotes: 'false-alarms<=0.1', 'recall@noise:8>=0.9', 'gain>=1.25'; exit code 4 where not met. "
    "Repeatable."
)


def evaluate(
    target: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="Folder of a run (in torch) or of a bundle.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the product, with test photos.")] = None,
    good: GoodOption = None,
    defect: DefectOption = None,
    masks: MasksOption = None,
    skip_unreadable: Annotated[bool, typer.Option(help="Leave unreadable images out.")] = False,
    report: Annotated[Path | None, typer.Option(help="Folder to write a report with pictures into.")] = None,
    shift: Annotated[list[str] | None, typer.Option(metavar="WHAT", help=_SHIFT_HELP)] = None,
    shift_at: Annotated[Literal["file", "network"], typer.Option(help=_SHIFT_AT_HELP)] = "file",
    require: Annotated[list[str] | None, typer.Option(metavar="WHAT", help=_REQUIRE_HELP)] = None,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Measure a run or a bundle on test images.

    The test images decide nothing: a bundle brings its threshold, set from held-out good images; a run has none, and
    only its scores are measured. With --shift the photos are changed as a line or a camera changes them, and false
    alarms and recall are counted at that threshold (docs/explanation/distribution_shift.md).
    """
    from edge_ad.cli import shift as shifts
    from edge_ad.data.products import open_product
    from edge_ad.errors import UsageError
    from edge_ad.evaluation.evaluate import check_test_images, evaluate_loaded
    from edge_ad.training.predictor import open_predictor, trained_on

    folders = named_folders(good, defect, masks)
    if not (data or folders.good or folders.defects):
        raise UsageError(
            "The test photos are missing.", "edge-ad evaluate TARGET --data FOLDER, or --good DIR --defect DIR"
        )
    kinds, requirements = shifts.plan(shift or [], require or [])
    seen = trained_on(target)
    with open_predictor(target, backend=backend, precision=precision, threads=threads) as predictor:
        product = open_product(
            data,
            folders,
            part="test",
            skip_unreadable=skip_unreadable,
            trained_on=seen,
            photos=predictor.photos if skip_unreadable else None,
        )
        check_test_images(product)
        if kinds:
            shifts.check_threshold(requirements, predictor)
            found = shifts.measure(predictor, product, kinds, shift_at, seen)
            shifts.show(found, requirements, report, as_json=as_json)
            return
        note(f"Scoring {len(product.test)} test images of {product.name} with {predictor.engine}.")
        evaluation = evaluate_loaded(predictor, product, trained_on=seen, progress=show_count)
    if evaluation.seen:
        note(f"warning: {evaluation.seen_words}.")
    if evaluation.unjudged:
        note(f"warning: {evaluation.unjudged_words}.")
    if report is not None:
        _write_report(report, evaluation, target)
    if as_json:
        print_json(evaluation.to_json())
    else:
        _print(evaluation)


def _write_report(folder: Path, evaluation: Evaluation, target: Path) -> None:
    from edge_ad.evaluation.report import write_report

    # A bundle's graph gives scores and maps only.
    reconstruct = None if (target / "manifest.json").is_file() else _run_reconstruction(target)
    paths = write_report(folder, evaluation, reconstruct=reconstruct)
    note(f"Report: {paths.page or paths.sheet}")
    if paths.missing:
        note(f"warning: the report has no page: {paths.missing}")


def _run_reconstruction(run: Path) -> Reconstruct:
    """What a run's detector thinks normal looks like, uint8 BGR both ways."""
    import numpy as np
    import torch

    from edge_ad.training.feature_cache import to_tensor
    from edge_ad.training.runs import load_run

    detector = load_run(run).detector

    @torch.inference_mode()
    def reconstruct(images: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        restored = detector.reconstruct(to_tensor(images))
        if restored is None:
            return None
        rgb = (restored.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).permute(0, 2, 3, 1)
        return np.ascontiguousarray(rgb.numpy()[..., ::-1])

    return reconstruct


def _print(evaluation: Evaluation) -> None:
    print_facts(
        {
            "product": evaluation.product,
            "engine": evaluation.engine,
            "images": f"{len(evaluation.samples)}, {int(evaluation.labels.sum())} of them defective",
            **evaluation.metrics,
            "brightness alone": evaluation.brightness_auroc,
        }
    )
    if evaluation.without_mask:
        print_line(f"{evaluation.without_mask} defective images have no usable mask and are not in the pixel metrics")
    rows = [
        [name, auroc, _detected(evaluation.decisions, name)] for name, auroc in sorted(evaluation.defect_auroc.items())
    ]
    if rows:
        print_table(["defect", "image_auroc", "detected"], rows, title="\nDefects")
    if evaluation.decisions is not None:
        _print_decisions(evaluation.decisions)


def _print_decisions(decisions: Decisions) -> None:
    threshold = decisions.threshold
    print_line()
    print_line("Decisions")
    print_facts(
        {
            "threshold": f"{threshold.value:.6g} ({threshold.rule})",
            "false alarms": f"{_words(decisions.false_alarms)}; asked for {threshold.false_alarm_rate:.2%},"
            f" bound {threshold.false_alarm_bound:.2%} at {threshold.confidence:.0%} confidence",
            "detections": _words(decisions.detections),
        }
    )


def _detected(decisions: Decisions | None, defect_type: str) -> str | None:
    return None if decisions is None else _words(decisions.detections_by_type.get(defect_type))


def _words(rate: Rate | None) -> str:
    return "none to count" if rate is None else f"{rate.count} of {rate.total} ({rate.value:.1%})"
