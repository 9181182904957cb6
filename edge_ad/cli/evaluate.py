"""``edge-ad evaluate``: metrics of a run or a bundle on a product's test images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edge_ad.cli.console import note, print_facts, print_json, print_line, print_table, show_count
from edge_ad.cli.options import EngineChoice, JsonOption, PhotosToTest, takes_groups

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_ad.data.samples import Product
    from edge_ad.evaluation.evaluate import LoadedPredictor
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


@dataclass(frozen=True)
class Target:
    """What is measured."""

    target: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="Folder of a run (in torch) or of a bundle.")]


@dataclass(frozen=True)
class Reporting:
    """What is left out, and what is written."""

    skip_unreadable: Annotated[
        bool, typer.Option(help="Leave out images that cannot be read, or are of another shape or depth.")
    ] = False
    report: Annotated[Path | None, typer.Option(help="Folder to write a report with pictures into.")] = None
    as_json: JsonOption = False


@dataclass(frozen=True)
class ShiftOptions:
    """How the photos are changed, and what must hold then."""

    shift: Annotated[list[str] | None, typer.Option(metavar="WHAT", help=_SHIFT_HELP)] = None
    shift_at: Annotated[Literal["file", "network"], typer.Option(help=_SHIFT_AT_HELP)] = "file"
    require: Annotated[list[str] | None, typer.Option(metavar="WHAT", help=_REQUIRE_HELP)] = None


@takes_groups
def evaluate(
    target: Target, photos: PhotosToTest, reporting: Reporting, shifting: ShiftOptions, engine: EngineChoice
) -> None:
    """Measure a run or a bundle on test images.

    The test images decide nothing: a bundle brings its threshold, set from held-out good images; a run has none, and
    only its scores are measured. With --shift the photos are changed as a line or a camera changes them, and false
    alarms and recall are counted at that threshold (docs/explanation/distribution_shift.md).
    """
    from edge_ad.cli import shift as shifts
    from edge_ad.errors import UsageError
    from edge_ad.training.predictor import learned_defects, open_predictor, trained_on

    if not photos.is_given:
        raise UsageError(
            "The test photos are missing.", "edge-ad evaluate TARGET --data FOLDER, or --good DIR --defect DIR"
        )
    kinds, requirements = shifts.plan(shifting.shift or [], shifting.require or [])
    seen = trained_on(target.target)
    with open_predictor(target.target, **vars(engine)) as predictor:
        learned = learned_defects(target.target)
        product = _product(photos, predictor, seen, learned, skip_unreadable=reporting.skip_unreadable)
        if kinds:
            shifts.check_threshold(requirements, predictor)
            found = shifts.measure(predictor, product, kinds, shifting.shift_at, seen)
            shifts.show(found, requirements, reporting.report, as_json=reporting.as_json)
            return
        evaluation = _evaluated(predictor, product, seen)
    if reporting.report is not None:
        _write_report(reporting.report, evaluation, target.target)
    if reporting.as_json:
        print_json(evaluation.to_json())
    else:
        _print(evaluation)


def _product(
    photos: PhotosToTest,
    predictor: LoadedPredictor,
    seen: frozenset[str],
    learned: frozenset[str],
    *,
    skip_unreadable: bool,
) -> Product:
    from edge_ad.data.products import open_product
    from edge_ad.evaluation.evaluate import check_test_images

    product = open_product(
        photos.data,
        photos.folders,
        part="test",
        skip_unreadable=skip_unreadable,
        trained_on=seen,
        learned_defects=learned,
        photos=predictor.photos if skip_unreadable else None,
    )
    check_test_images(product)
    return product


def _evaluated(predictor: LoadedPredictor, product: Product, seen: frozenset[str]) -> Evaluation:
    from edge_ad.evaluation.evaluate import evaluate_loaded

    note(f"Scoring {len(product.test)} test images of {product.name} with {predictor.engine}.")
    evaluation = evaluate_loaded(predictor, product, trained_on=seen, progress=show_count)
    for words in filter(None, (evaluation.seen_words, evaluation.unjudged_words, evaluation.brightness_words)):
        note(f"warning: {words}.")
    return evaluation


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
    if evaluation.decisions is None:
        print_line("A run has no threshold: evaluate its bundle to see false alarms and what is detected.")
    else:
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
