"""What a cell of a sweep does: train, or go on with the training, and measure."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge_ad.data.products import open_product
from edge_ad.data.pseudo_defects import KINDS
from edge_ad.data.splits import GoodSplit
from edge_ad.errors import UsageError
from edge_ad.evaluation.evaluate import evaluate
from edge_ad.models.base import AnomalyDetector
from edge_ad.sweeps.cell_folder import CellFolder
from edge_ad.sweeps.cells import Told
from edge_ad.sweeps.looks import Looks
from edge_ad.training.cross_fitting import without_first_fold
from edge_ad.training.held_out_defects import separation
from edge_ad.training.precision import choose_device
from edge_ad.training.request import TrainingRequest
from edge_ad.training.runs import Run, load_run, read_record, torch_predictor
from edge_ad.training.train import resume, train

__all__ = ["held_out_separation", "train_and_measure", "trained"]

RUN = "run"


def train_and_measure(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    """Train on the good photos of a product and measure what came of it.

    Args:
        arguments: As `edge_ad.sweeps.plan.training_cell` makes them.
        folder: Of the cell; the run is left there.
        told: Who is told.

    Returns:
        ``held_out``: image AUROC of good photos that were not trained on against pseudo-defects on them, None where all
        were trained on; and unless that alone is asked for, the metrics on the test photos.

    Raises:
        DataError: Photos cannot be used.
        UsageError: A parameter is wrong.
    """
    if arguments.get("looks"):
        told = dataclasses.replace(told, epoch=_looking(arguments, folder, told))
    run = load_run(trained(arguments, folder / RUN, told))
    figures: dict[str, Any] = {"held_out": held_out_separation(run.detector, run.split, arguments["device"])}
    if not arguments["held_out_only"]:
        figures |= _test_metrics(run, Path(arguments["product"]), arguments["device"], told)
    if not arguments["keep_run"]:
        shutil.rmtree(run.root)
    return figures


def trained(arguments: Mapping[str, Any], root: Path, told: Told) -> Path:
    """The folder of the finished run: trained, gone on with, or there already."""
    if (root / "run.json").is_file():
        if read_record(root).status == "finished":
            return root
        told.note("Going on from the last checkpoint.")
        return resume(root, told.epoch)
    values = {**arguments["values"], "seed": arguments["seed"]}
    settings: dict[str, Any] = {**arguments["settings"]}
    request = TrainingRequest(
        method=arguments["method"],
        data=Path(arguments["product"]),
        root=root,
        values=values,
        preset=arguments["preset"],
        speed=arguments["speed"],
        device=arguments["device"],
    )
    return train(dataclasses.replace(request, **settings), told.epoch)


def _looking(arguments: Mapping[str, Any], folder: Path, told: Told) -> Callable[[Any], None]:
    def judge(detector: AnomalyDetector, split: GoodSplit) -> float | None:
        return held_out_separation(detector, split, arguments["device"])

    look = Looks(folder / RUN, CellFolder(folder), arguments["looks"], judge)

    def listen(report: Any) -> None:
        told.epoch(report)
        look(report)

    return listen


def held_out_separation(detector: AnomalyDetector, split: GoodSplit, device: str) -> float | None:
    """Image AUROC of good photos that a detector's weights have not seen against the same ones with pseudo-defects.

    A method that learns from pseudo-defects is judged by the kinds that it has not seen, where there are any.

    Args:
        detector: In evaluation mode, on the CPU and left there.
        split: What it was trained on, and what not.
        device: Where to compute.

    Returns:
        It, or None where every photo was trained on.
    """
    if split.has_no_held_out or len(split.folds) == 1:
        return None
    detector = without_first_fold(detector, split)
    found_on = choose_device(device)
    figure = separation(detector.to(found_on), split, found_on, _unseen_kinds(detector))
    detector.cpu()
    return figure


def _unseen_kinds(detector: AnomalyDetector) -> tuple[str, ...]:
    return tuple(kind for kind in KINDS if kind not in detector.defect_kinds) or tuple(KINDS)


def _test_metrics(run: Run, folder: Path, device: str, told: Told) -> dict[str, float]:
    product, found_on = open_product(folder, part="test", trained_on=_seen(run)), choose_device(device)
    if not product.test:
        raise UsageError(f"{folder} has no test photos.", "Leave the product out, or search without them: --search")
    # A benchmark's good photos may miss a shape that its test photos have: all of them count.
    photos = run.split.photos.model_copy(update={"aspect_ratios": None})
    predict = torch_predictor(run.detector.to(found_on), found_on)
    found = evaluate(predict, product, run.detector.config.size_hw, photos=photos, progress=told.progress)
    return dict(found.metrics)


def _seen(run: Run) -> frozenset[str]:
    record = read_record(run.root).split
    return frozenset([*record.fit.values(), *record.calibrate.values(), *record.threshold.values()])
