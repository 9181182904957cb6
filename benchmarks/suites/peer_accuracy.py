"""anomalib's PaDiM and PatchCore on our test photos: our backbone, our pixels, our metrics.

    python -m benchmarks.suites.peer_accuracy --data DIR/<product>... --anomalib-python PYTHON --out peer_accuracy.jsonl

They are fitted on EfficientNet-Lite0 with our weights (`benchmarks.suites.anomalib_fit`), exported by anomalib, and
judge the test photos through its inferencer. They get all photos as we bring them to 256x256. The models stay in
``--work/<product>``, where `benchmarks.suites.peers` times them. Each row is a cell of a sweep. Rows that the file has
are not measured again. The rows of ours are `benchmarks.suites.accuracy_suite`'s; ``patch-gaussian:geometry=stretch``
has the same pixels.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.suites.record import now
from benchmarks.suites.row_cells import add_cell_options, measure_missing, row_cell
from edge_ad.data.products import open_product
from edge_ad.data.samples import Product
from edge_ad.errors import EdgeAdError
from edge_ad.evaluation.sample_metrics import image_metrics, pixel_metrics
from edge_ad.images import read_image
from edge_ad.resizing import resize
from edge_ad.storage import one_at_a_time, write_file
from edge_ad.sweeps.cells import Cell, Told

PEERS = ("PaDiM-Lite0", "PaDiM-Lite0-152", "PatchCore-Lite0")
_KEY = ("product", "seed", "method")
_SIZE = 256
_FIT = Path(__file__).with_name("anomalib_fit.py")
_DIGITS = 4


def measure(name: str, data: Path, seed: int, work: Path, python: Path) -> dict[str, Any]:
    """Fit one of anomalib's models and measure what its exported model says of the test photos.

    Args:
        name: One of `PEERS`.
        data: Folder of the product.
        seed: Of the channels of PaDiM and of the first patch of PatchCore's coreset.
        work: The model goes to the folder there that has the product's name.
        python: Interpreter of anomalib's environment.

    Raises:
        EdgeAdError: anomalib's process failed.
    """
    product, folder = open_product(data), work / data.name
    source = folder / "input.pt"
    folder.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(folder):  # all peers of a product share it
        if not source.is_file():
            write_input(source, product)
    found = _fitted([str(python.absolute()), str(_FIT), name, str(source), str(folder), str(seed)], folder)
    with np.load(folder / f"{name}.npz") as said:
        metrics = image_metrics(product.test, said["scores"])
        metrics |= pixel_metrics(product.test, said["maps"], (_SIZE, _SIZE))[0]
    row = {"kind": "accuracy", "recorded": now(), "product": product.name, "size": _SIZE, "seed": seed, "share": 1.0}
    shown = {key: round(value, _DIGITS) for key, value in metrics.items()}
    return {**row, "method": f"anomalib {name}", **shown, **found}


def write_input(path: Path, product: Product) -> None:
    """Photos at 256x256, the backbone's weights, and its features of the first photo, for anomalib's environment."""
    import torch

    from edge_ad.models.backbones.efficientnet_lite import EfficientNetLite0

    weights = EfficientNetLite0.imagenet_weights()
    backbone = EfficientNetLite0((8, 16)).eval()
    backbone.load_published(weights)
    photos = _photos(product.good)
    first = torch.from_numpy(photos[:1]).permute(0, 3, 1, 2).float() / 255
    given = {
        "train": torch.from_numpy(photos),
        "test": torch.from_numpy(_photos(sample.path for sample in product.test)),
    }
    whole = io.BytesIO()
    with torch.no_grad():
        torch.save({**given, "weights": dict(weights), "features": backbone(first)}, whole)
    write_file(path, whole.getvalue())


def _photos(paths: Iterable[Path]) -> NDArray[np.uint8]:
    """uint8 (N, 256, 256, 3) RGB."""
    return np.stack([resize(read_image(path), (_SIZE, _SIZE))[..., ::-1] for path in paths])


def _fitted(command: Sequence[str], folder: Path) -> dict[str, float]:
    """What the process says on its last line."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        raise EdgeAdError(" ".join(done.stderr.strip().splitlines()[-1:]) or "anomalib's process failed.")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_cell(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    """As `measure`, as the task of a cell."""
    data, work, python = (Path(arguments[name]) for name in ("data", "work", "python"))
    return measure(arguments["peer"], data, arguments["seed"], work, python)


def cells_of(chosen: argparse.Namespace) -> list[Cell]:
    """A cell for each row that is asked for."""
    return [
        row_cell(
            f"{__package__}.peer_accuracy:measure_cell",
            {"product": data.name, "seed": seed, "method": f"anomalib {name}"},
            peer=name,
            data=str(data),
            work=str(chosen.work),
            python=str(chosen.anomalib_python.absolute()),
        )
        for seed in chosen.seeds
        for data in chosen.data
        for name in chosen.peers
    ]


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=lambda text: Path(text).resolve(), nargs="+", required=True)
    made.add_argument("--peers", nargs="+", choices=PEERS, default=["PaDiM-Lite0", "PatchCore-Lite0"])
    made.add_argument("--seeds", type=int, nargs="+", default=[0])
    made.add_argument("--anomalib-python", type=Path, required=True, help="interpreter of anomalib's environment")
    made.add_argument("--work", type=lambda text: Path(text).resolve(), default=Path("runs/peers").resolve())
    made.add_argument("--out", type=Path, default=Path("peer_accuracy.jsonl"))
    add_cell_options(made)
    return made


def main(arguments: list[str] | None = None) -> int:
    """Measure what is missing."""
    chosen = parser().parse_args(arguments)
    return 1 if measure_missing(cells_of(chosen), _KEY, chosen) else 0


if __name__ == "__main__":
    sys.exit(main())
