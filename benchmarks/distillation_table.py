"""Students of a frozen teacher and the patch Gaussian, unshifted and at severity 3 of ImageNet-C, part by part.

    python -m benchmarks.distillation_table --data FOLDER... --out results.jsonl [--seeds 0] [--batch-size 4]
    python -m benchmarks.distillation_table --data FOLDER --methods fico:steps=300,matching=moments --out results.jsonl
    python -m benchmarks.distillation_table --show results.jsonl

A method is written ``name`` or ``name:parameter=value,parameter=value``. Methods that differ in ``matching`` alone,
which no student's training sees, share one training: they are one cell of a sweep. Photos are shifted at their own
resolution, as the papers do. A cell is image AUROC, and false alarms and recall at the threshold that the product's
rule sets on held-out unshifted photos. ``seconds`` is CPU time of the training with its preparation, on one thread
where ``--cores`` is not given. Rows that the file has already are not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.suites.accuracy_suite import split_method
from benchmarks.suites.record import read_lines
from benchmarks.suites.row_cells import add_cell_options, measure_missing, row_cell
from edge_ad.data.products import open_product
from edge_ad.data.samples import Product
from edge_ad.data.shift_kinds import parse_shifts
from edge_ad.data.splits import GoodSplit, split_good
from edge_ad.evaluation.evaluate import read_test_photo
from edge_ad.evaluation.metrics import image_auroc
from edge_ad.evaluation.thresholds import fit_threshold
from edge_ad.images import read_resized
from edge_ad.models import create_detector, method_class
from edge_ad.models.base import AnomalyDetector
from edge_ad.sweeps.cells import Cell, Told
from edge_ad.training.feature_cache import to_tensor
from edge_ad.training.loop import LoopSettings, run_stages
from edge_ad.training.preparation import fit_photos, prepare

ROBUST = "input_normalisation=picture,views=2"
METHODS = (
    "patch-gaussian",
    "patch-gaussian:matching=moments",
    "reverse-distillation:steps=300",
    "reverse-distillation:steps=300,matching=moments",
    "reverse-distillation:steps=300,matching=exact",
    "gnl:steps=300",
    "gnl:steps=300,matching=moments",
    "gnl:steps=300,matching=exact",
    "fico:steps=300",
    "fico:steps=300,matching=moments",
    "fico:steps=300,filter_weight=0",
    "fico:steps=300,filter_weight=0,matching=moments",
    "fico:steps=300,compensation=false",
    "fico:steps=300,compensation=false,matching=moments",
    f"reverse-distillation:steps=300,{ROBUST}",
    f"reverse-distillation:steps=300,{ROBUST},matching=moments",
    f"patch-gaussian:{ROBUST}",
)
SHIFTS = tuple(f"imagenet-c/{name}:3" for name in ("brightness", "contrast", "defocus-blur", "gaussian-noise"))
_KEY = ("product", "seed", "method", "batch_size")
_BATCH = 8
_NEVER_TRAINED = ("matching", "matching_share")


class Pictures:
    """Test photos of a product as the network sees them, unshifted and shifted.

    Args:
        product: Opened product.
        split: Its good photos.
        size_hw: Of the network's input.
    """

    def __init__(self, product: Product, split: GoodSplit, size_hw: tuple[int, int]) -> None:
        self._product, self._split, self._size_hw = product, split, size_hw
        self.labels = np.array([sample.is_defective for sample in product.test])
        self.names = ("unshifted", *(kind.name for kind in parse_shifts(SHIFTS)))
        self._made: dict[str, NDArray[np.uint8]] = {}

    def __getitem__(self, name: str) -> NDArray[np.uint8]:
        """uint8 (N, H, W, 3) BGR."""
        if not self._made:
            self._made = {each: np.stack(images) for each, images in self._all().items()}
        return self._made[name]

    def _all(self) -> dict[str, list[NDArray[np.uint8]]]:
        found: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in self.names}
        for sample in self._product.test:
            photo = read_test_photo(sample, self._split.photos)
            found["unshifted"].append(self._split.photos.to_input(photo, self._size_hw))
            for kind in parse_shifts(SHIFTS):
                shifted = kind.apply(photo, kind.steps[0], zlib.crc32(photo.tobytes()))
                found[kind.name].append(self._split.photos.to_input(shifted, self._size_hw))
        return found


def trained(split: GoodSplit, method: str, values: dict[str, Any], batch_size: int) -> tuple[AnomalyDetector, float]:
    """A detector and the CPU seconds of its training."""
    began = time.process_time()
    detector = create_detector(method, values)
    data = prepare(detector, split)
    settings = LoopSettings(detector.config.seed, torch.device("cpu"), batch_size)
    run_stages(detector, data, settings, lambda report: None)
    return detector.eval(), time.process_time() - began


def scores_of(detector: AnomalyDetector, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Scores of uint8 BGR images (N, H, W, 3)."""
    with torch.inference_mode():
        parts = [detector(to_tensor(images[at : at + _BATCH])).score for at in range(0, len(images), _BATCH)]
    scores = torch.cat(parts).double().numpy()
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    return np.asarray(scores)


def figures(detector: AnomalyDetector, split: GoodSplit, pictures: Pictures) -> dict[str, Any]:
    """Image AUROC, false alarms and recall for each shift."""
    size_hw = detector.config.size_hw
    held = scores_of(detector, read_resized(split.threshold, size_hw, split.photos))
    threshold, found = fit_threshold(held).value, {}
    for name in pictures.names:
        scores, defective = scores_of(detector, pictures[name]), pictures.labels
        found[name] = {
            "image_auroc": round(image_auroc(defective, scores), 4),
            "false_alarms": round(float((scores[~defective] > threshold).mean()), 3),
            "recall": round(float((scores[defective] > threshold).mean()), 3),
        }
    return found


def measure_cell(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    """The rows of methods that share a training."""
    product, size, seed = open_product(Path(arguments["data"])), arguments["size"], arguments["seed"]
    split = split_good(product.good, seed=seed)
    pictures, known = Pictures(product, split, (size, size)), None
    rows = []
    for method in arguments["methods"]:
        name, values = _values(method, size, seed)
        if known is None:
            known = trained(split, name, _plain(name, values), arguments["batch_size"])
        detector = _with_matching(known[0], split, method, size, seed)
        labels = {"product": product.name, "seed": seed, "method": method, "batch_size": arguments["batch_size"]}
        rows.append({**labels, "seconds": round(known[1], 1), "shifts": figures(detector, split, pictures)})
    return {"rows": rows}


def _values(method: str, size: int, seed: int) -> tuple[str, dict[str, Any]]:
    name, given = split_method(method)
    return name, {"size": size, "seed": seed, **given}


def _plain(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that a training sees."""
    shares = "matching_share" in method_class(name).parameters_type.model_fields
    return {key: value for key, value in values.items() if not (shares and key in _NEVER_TRAINED)}


def _with_matching(detector: AnomalyDetector, split: GoodSplit, method: str, size: int, seed: int) -> AnomalyDetector:
    """The trained detector as a method that differs in its matching alone has it."""
    name, values = _values(method, size, seed)
    if _plain(name, values) == values:
        return detector
    matched = create_detector(name, values)
    missing, unexpected = matched.load_state_dict(detector.state_dict(), strict=False)
    if unexpected or any(".matching." not in each for each in missing):
        raise ValueError(f"{method} is another network than {name}")
    fit_photos(matched, read_resized(split.fit, (size, size), split.photos))
    return matched.eval()


def cells_of(chosen: argparse.Namespace) -> list[Cell]:
    """A cell for each training that is asked for."""
    groups: dict[str, list[str]] = {}
    for method in chosen.methods:
        name, values = _values(method, chosen.size, 0)
        groups.setdefault(json.dumps([name, _plain(name, values)], sort_keys=True), []).append(method)
    return [
        row_cell(
            "benchmarks.distillation_table:measure_cell",
            {"product": data.resolve().name, "seed": seed, "method": methods[0], "batch_size": chosen.batch_size},
            data=str(data.resolve()),
            methods=methods,
            size=chosen.size,
        )
        for data in chosen.data
        for seed in chosen.seeds
        for methods in groups.values()
    ]


def rows_of(cell: Cell) -> list[dict[str, Any]]:
    """What tells the rows of a cell apart."""
    methods: Any = cell.arguments["methods"]
    return [{**cell.labels, "method": method} for method in methods]


def table(found: Sequence[dict[str, Any]]) -> str:
    """Rows as a Markdown table: image AUROC (false alarms / recall)."""
    names = list(found[0]["shifts"])
    lines = [
        "| product | method | " + " | ".join(name.rpartition("/")[2] for name in names) + " | CPU s |",
        "|---|---|" + "---|" * (len(names) + 1),
    ]
    for row in found:
        cells = [
            f"{cell['image_auroc']:.3f} ({cell['false_alarms']:.2f} / {cell['recall']:.2f})"
            for cell in (row["shifts"][name] for name in names)
        ]
        lines.append(f"| {row['product']} | `{row['method']}` | {' | '.join(cells)} | {row['seconds']:.0f} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure the rows that are asked for, or print recorded ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--out", type=Path, default=Path("distillation_table.jsonl"))
    parser.add_argument("--show", type=Path)
    add_cell_options(parser)
    parser.set_defaults(cores=1)
    chosen = parser.parse_args(arguments)
    if chosen.show is not None:
        print(table(read_lines(chosen.show)))
        return 0
    if chosen.data is None:
        parser.error("--data FOLDER is needed")
    return 1 if measure_missing(cells_of(chosen), _KEY, chosen, rows_of) else 0


if __name__ == "__main__":
    sys.exit(main())
