"""Mask source × {EAR, EAR + FADeR}, with the four controls that must stand beside them.

    python -m benchmarks.fader_table --data FOLDER --out results.jsonl [--size 128] [--width lean] [--sources full]

For each mask source an EAR is trained, and on it FADeR with each error predictor for 100 epochs, as the paper says.
The controls: ``no-network`` compares the image with its own mosaic; ``patch-gaussian`` is the mask source alone;
``fader constant`` attenuates everywhere alike; ``fader ones`` only fine-tunes the decoder. ``held_out`` is the image
AUROC of held-out good images against pseudo-defects: the only column that a default may be chosen by. ``(fused)`` rows
are the same networks with our map instead of the paper's. Each mask source is a cell of a sweep. Rows that the file has
already are not measured again; `benchmarks.fader_markdown` makes tables of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.suites.row_cells import add_cell_options, measure_missing, row_cell
from edge_ad.data.products import open_product
from edge_ad.data.samples import Product
from edge_ad.data.splits import GoodSplit, split_good
from edge_ad.evaluation.evaluate import evaluate
from edge_ad.models import AnomalyDetector, create_detector
from edge_ad.models.ear import Ear, EarParameters
from edge_ad.sweeps.cells import Cell, Told
from edge_ad.training.checkpoints import Progress
from edge_ad.training.held_out_defects import separation
from edge_ad.training.loop import LoopSettings, TrainingSet, run_stages
from edge_ad.training.precision import choose_device
from edge_ad.training.preparation import prepare
from edge_ad.training.runs import torch_predictor

SOURCES = ("patch-distance", "backbone", "full", "none")
_KEY = ("product", "size", "seed", "width", "mask", "model")
_NO_SOURCE = "-"
PREDICTORS = ("mlp", "vit", "distance", "constant", "ones")


class Mosaic(torch.nn.Module):
    """Stands in for the U-Net: what goes in comes out, so that the image is compared with its own mosaic."""

    def forward(self, obfuscated: Tensor) -> Tensor:
        """The mosaic itself."""
        return obfuscated


def measure_cell(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    """The rows of a mask source on a product; ``-`` is the patch Gaussian alone."""
    names = ("size", "seed", "width", "steps", "fader_epochs")
    values = {name: arguments[name] for name in names}
    product = open_product(Path(arguments["data"]))
    split = split_good(product.good, seed=values["seed"])
    if arguments["mask"] == _NO_SOURCE:
        detector = create_detector("patch-gaussian", {key: values[key] for key in ("size", "seed")})
        found = [_row(product, split, detector, "patch-gaussian", _NO_SOURCE, _fit(detector, split)[1])]
    else:
        values["mask_source"] = arguments["mask"]
        found = list(_rows_of_source(product, split, values, arguments["predictors"]))
    return {"rows": [{**row, "fader_epochs": values["fader_epochs"]} for row in found]}


def _rows_of_source(
    product: Product, split: GoodSplit, values: dict[str, Any], predictors: list[str]
) -> Iterator[dict[str, Any]]:
    source = values["mask_source"]
    values = dict(values)
    fader_epochs = values.pop("fader_epochs")
    bare = create_detector("ear", values)
    assert isinstance(bare, Ear)
    prepare(bare, split)
    bare.unet = Mosaic()  # type: ignore[assignment]
    yield from _rows_of(product, split, bare, source, "no-network", 0.0)
    ear = create_detector("ear", values)
    assert isinstance(ear, Ear)
    data, _ = _fit(ear, split)
    seconds = _train(ear, data)
    yield from _rows_of(product, split, ear, source, "ear", seconds)
    for predictor in predictors:
        detector = create_detector("fader", {**values, "predictor": predictor, "fader_epochs": fader_epochs})
        assert isinstance(detector, Ear)
        data, _ = _fit(detector, split)
        state = {**detector.state_dict(), **ear.state_dict()}
        seconds = _train(detector, data, {f"detector.{name}": value for name, value in state.items()})
        yield from _rows_of(product, split, detector, source, f"fader {predictor}", seconds)


def _fit(detector: AnomalyDetector, split: GoodSplit) -> tuple[TrainingSet, float]:
    began = time.monotonic()
    return prepare(detector, split), time.monotonic() - began


def _train(detector: AnomalyDetector, data: TrainingSet, ear: dict[str, Tensor] | None = None) -> float:
    began = time.monotonic()
    device = choose_device("auto")
    settings = LoopSettings(seed=detector.config.seed, device=device, batch_size=8)
    run_stages(detector.to(device), data, settings, lambda report: None, None if ear is None else (Progress(1, 0), ear))
    detector.cpu()
    return time.monotonic() - began


def _rows_of(
    product: Product, split: GoodSplit, detector: Ear, source: str, model: str, seconds: float
) -> Iterator[dict[str, Any]]:
    """The paper's map, and where there is a patch distance the fused one."""
    kinds = ("reconstruction", "fused") if detector.has_distance() else ("reconstruction",)
    for evidence in kinds:
        detector.config = detector.config.model_copy(update={"evidence": evidence})
        yield _row(
            product, split, detector, source, model if evidence == "reconstruction" else f"{model} (fused)", seconds
        )


def _row(
    product: Product, split: GoodSplit, detector: AnomalyDetector, source: str, model: str, seconds: float
) -> dict[str, Any]:
    size = detector.config.size
    result = evaluate(torch_predictor(detector.eval()), product, detector.config.size_hw)
    figures = {name: round(value, 4) for name, value in result.metrics.items()}
    figures["held_out"] = round(separation(detector, split), 4)
    brightness = None if result.brightness_auroc is None else round(result.brightness_auroc, 4)
    width = detector.config.width if isinstance(detector.config, EarParameters) else "-"
    row = {"product": product.name, "size": size, "seed": detector.config.seed, "width": width}
    row |= {"mask": source, "model": model}
    return {**row, **figures, "seconds": round(seconds, 1), "brightness_auroc": brightness}


def cells_of(chosen: argparse.Namespace) -> list[Cell]:
    """A cell for each mask source, and one for the patch Gaussian."""
    labels = {"product": chosen.data.resolve().name, "size": chosen.size, "seed": chosen.seed, "width": chosen.width}
    more = {"data": str(chosen.data.resolve()), "steps": chosen.steps, "fader_epochs": chosen.fader_epochs}
    task = "benchmarks.fader_table:measure_cell"
    return [
        row_cell(task, {**labels, "mask": source}, predictors=list(chosen.predictors), **more)
        for source in (_NO_SOURCE, *chosen.sources)
    ]


def rows_of(cell: Cell) -> list[dict[str, Any]]:
    """What tells the rows of a cell apart that must be there: those of its predictors."""
    if cell.labels["mask"] == _NO_SOURCE:
        return [{**cell.labels, "width": "-", "mask": "patch-gaussian", "model": _NO_SOURCE}]
    predictors: Any = cell.arguments["predictors"]
    return [{**cell.labels, "model": f"fader {name}"} for name in predictors]


def main(arguments: list[str] | None = None) -> int:
    """Measure the rows that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("fader_table.jsonl"))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", default=EarParameters().width, help="of the U-Net")
    parser.add_argument("--steps", type=int, default=600, help="steps of EAR")
    parser.add_argument("--fader-epochs", type=int, default=100, help="epochs of FADeR; the paper takes 100")
    parser.add_argument("--sources", nargs="+", default=list(SOURCES))
    parser.add_argument("--predictors", nargs="+", default=list(PREDICTORS))
    add_cell_options(parser)
    chosen = parser.parse_args(arguments)
    return 1 if measure_missing(cells_of(chosen), _KEY, chosen, rows_of) else 0


if __name__ == "__main__":
    sys.exit(main())
