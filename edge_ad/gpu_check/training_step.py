"""Steps of the GPU check that train: the loss on CUDA against that on the CPU, and a bundle for the steps after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_ad.data.sample_product import render_product
from edge_ad.errors import require
from edge_ad.export.precisions import graphs_of_run
from edge_ad.gpu_check.cuda_step import require_driver
from edge_ad.gpu_check.steps import CannotRunError, Findings, Work
from edge_ad.manifest import Precision
from edge_ad.training.loop import EpochReport
from edge_ad.training.request import TrainingRequest
from edge_ad.training.train import train

__all__ = ["check_curves", "check_training", "make_bundle"]

_METHOD = "ear"
_SETTINGS = {"size": 128, "epochs": 4, "seed": 0}
_BATCH_SIZE = 8
_PHOTOS = 64
_PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
_MOST_DIFFERENCE = 0.1  # of an epoch's loss: sums in another order change the path, not where it leads
_MOST_FIRST_DIFFERENCE = 0.02


def check_training(work: Work) -> Findings:
    """Train the same on the CPU and on CUDA, and hold the losses of each epoch against each other."""
    _require_cuda_torch()
    findings = Findings()
    curves, seconds = {}, {}
    for device in ("cpu", "cuda"):
        reports = _train(work, device)
        curves[device] = [sum(report.losses.values()) for report in reports]
        seconds[device] = sum(report.seconds for report in reports)
    check_curves(curves["cpu"], curves["cuda"], findings)
    findings.facts["loss per epoch, CPU"], findings.facts["loss per epoch, CUDA"] = curves["cpu"], curves["cuda"]
    findings.facts["seconds"] = seconds
    return findings


def check_curves(cpu: Sequence[float], cuda: Sequence[float], findings: Findings) -> None:
    """Hold two loss curves against each other.

    Args:
        cpu: Loss of each epoch on the CPU, at least one.
        cuda: The same on CUDA.
        findings: Where the checks are added.
    """
    found = len(cpu) == len(cuda) > 0
    findings.check("as many epochs on CUDA as on the CPU", found, f"{len(cuda)} and {len(cpu)}")
    if not found:
        return
    differences = [abs(ours - theirs) / abs(theirs) for ours, theirs in zip(cuda, cpu, strict=True)]
    first, worst = differences[0], float(np.max(differences))  # NaN where one is
    findings.check("the first epoch's loss is that of the CPU", first <= _MOST_FIRST_DIFFERENCE, f"{first:.2%} off")
    findings.check("every epoch's loss is near that of the CPU", worst <= _MOST_DIFFERENCE, f"{worst:.2%} off at most")
    findings.check("the loss falls on CUDA", cuda[-1] < cuda[0], f"{cuda[0]:.4f} to {cuda[-1]:.4f}")


def make_bundle(work: Work) -> Findings:
    """Export the run of the CPU, and add its FP16 and INT8 graphs; both must pass their accuracy gates."""
    require_driver()
    require("torch", extra="train")
    if not (_run_root(work, "cpu") / "run.json").is_file():
        _train(work, "cpu")
    bundle, _ = graphs_of_run(_run_root(work, "cpu"), "onnxruntime", list(_PRECISIONS), print)
    findings = Findings()
    for precision in _PRECISIONS:
        graph = bundle.manifest.graphs.get(precision)
        passed = graph is not None and (precision == "fp32" or (graph.gate is not None and graph.gate.passed))
        findings.check(f"{precision} is there and passed its gate", passed)
    return findings


def _require_cuda_torch() -> None:
    torch = require("torch", extra="train")
    if torch.version.cuda is None:
        raise CannotRunError(
            f"The installed torch {torch.__version__} is built without CUDA.", "Install one that is: see pytorch.org"
        )
    if not torch.cuda.is_available():
        raise CannotRunError("torch finds no CUDA device.", "See what the driver finds: nvidia-smi")


def _train(work: Work, device: str) -> list[EpochReport]:
    product, reports = work.folder / "product", list[EpochReport]()
    if not product.is_dir():
        render_product(product, good=_PHOTOS, size_hw=(256, 256))
    request = TrainingRequest(
        _METHOD,
        product,
        _run_root(work, device),
        _SETTINGS,
        device=device,
        batch_size=_BATCH_SIZE,
        mixed_precision=False,  # the same arithmetic on both
    )
    train(request, reports.append)
    return reports


def _run_root(work: Work, device: str) -> Path:
    return work.bundle.parent if device == "cpu" else work.folder / f"run-{device}"
