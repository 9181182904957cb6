"""anomalib's PaDiM and PatchCore on our test photos: our backbone, our pixels, our metrics.

    python -m benchmarks.suites.peer_accuracy --data DIR/<product>... --anomalib-python PYTHON --out peer_accuracy.jsonl

They are fitted on EfficientNet-Lite0 with our weights (`benchmarks.suites.anomalib_fit`), exported by anomalib, and
judge the test photos through its inferencer. They get all photos as we bring them to 256x256. The models stay in
``--work/<product>``, where `benchmarks.suites.peers` times them. Rows that the file has are not measured again. The
rows of ours are `benchmarks.suites.accuracy_suite`'s; ``patch-gaussian:geometry=stretch`` has the same pixels.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.suites.record import append_row, now, read_lines
from edge_ad.data.products import Product, open_product
from edge_ad.errors import EdgeAdError
from edge_ad.evaluation.evaluate import image_metrics, pixel_metrics
from edge_ad.images import read_image
from edge_ad.resizing import resize

PEERS = ("PaDiM-Lite0", "PaDiM-Lite0-152", "PatchCore-Lite0")
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
    if not source.is_file():
        folder.mkdir(parents=True, exist_ok=True)
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
    with torch.no_grad():
        torch.save({**given, "weights": dict(weights), "features": backbone(first)}, path)


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


def run_missing(chosen: Any) -> int:
    """Measure what is missing; returns how many failed."""
    done = {(row["product"], row["seed"], row["method"]) for row in read_lines(chosen.out)}
    wanted = [(name, data, seed) for seed in chosen.seeds for data in chosen.data for name in chosen.peers]
    failed = 0
    for name, data, seed in wanted:
        if (data.name, seed, f"anomalib {name}") in done:
            continue
        try:
            row = measure(name, data, seed, chosen.work, chosen.anomalib_python)
        except EdgeAdError as error:
            print(f"error: {name} on {data.name}, seed {seed}: {error}", file=sys.stderr)
            failed += 1
            continue
        append_row(chosen.out, row)
        print(json.dumps(row), flush=True)
    return failed


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=lambda text: Path(text).resolve(), nargs="+", required=True)
    made.add_argument("--peers", nargs="+", choices=PEERS, default=["PaDiM-Lite0", "PatchCore-Lite0"])
    made.add_argument("--seeds", type=int, nargs="+", default=[0])
    made.add_argument("--anomalib-python", type=Path, required=True, help="interpreter of anomalib's environment")
    made.add_argument("--work", type=lambda text: Path(text).resolve(), default=Path("runs/peers").resolve())
    made.add_argument("--out", type=Path, default=Path("peer_accuracy.jsonl"))
    return made


def main(arguments: list[str] | None = None) -> int:
    """Measure what is missing."""
    return 1 if run_missing(parser().parse_args(arguments)) else 0


if __name__ == "__main__":
    sys.exit(main())
