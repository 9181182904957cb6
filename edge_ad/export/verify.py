"""Check engines against the trained network on real images, or against the outputs recorded in their bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad.bundle import Bundle
from edge_ad.errors import DeviceError, EdgeAdError, EngineCrashError
from edge_ad.export.build import open_target
from edge_ad.export.precisions import runnable
from edge_ad.manifest import Precision
from edge_ad.prediction import Prediction
from edge_ad.runtime.backend import backend_names, probe_backend
from edge_ad.runtime.engines import opened_engine
from edge_ad.runtime.parity import Deviation, parity_of_engine, recorded_predictions
from edge_ad.runtime.verification import check_opens

__all__ = ["Check", "Verification", "verify_target"]

_IMAGES = 24
_BATCH = 4

Log = Callable[[str], None]


@dataclass(frozen=True)
class Check:
    """One engine held against the reference.

    Attributes:
        engine: What ran, such as ``"openvino int8"``.
        source: Where it was opened from.
        deviation: Differences of scores and maps.
        map_correlation: Mean correlation of its maps with those of the reference.
        score_shift: Largest difference of a score, seen from its own threshold, as a share of the map's range.
        map_shift: Difference of the mean of the maps, seen and measured alike.
        map_scale: Standard deviation of its maps, as a multiple of the reference's.
        problem: What is wrong, in words; empty when it passed.
        passed: FP32: within the tolerance. Others: within the limits of their gate and of `parity_of`.
    """

    engine: str
    source: str
    deviation: Deviation
    map_correlation: float
    score_shift: float
    map_shift: float
    map_scale: float
    problem: str
    passed: bool


@dataclass(frozen=True)
class Verification:
    """Result of ``edge-ad verify``.

    Attributes:
        reference: What the engines were held against, in words.
        images: How many images.
        checks: One per engine.
    """

    reference: str
    images: int
    checks: list[Check]

    @property
    def passed(self) -> bool:
        """Whether every engine passed."""
        return all(check.passed for check in self.checks)


def verify_target(path: Path, *, backend: str = "auto", threads: int = 0, log: Log = lambda _: None) -> Verification:
    """Check every graph of a bundle in ONNX Runtime and in the chosen backend.

    Args:
        path: Run or bundle. With the run, torch itself runs on held-out images; a bundle alone is checked against the
            outputs that torch gave when it was exported.
        backend: ``"auto"`` for every backend that works here, or a backend's name.
        threads: CPU threads; 0 leaves it to the backend.
        log: Told about each step.

    Raises:
        UsageError: Neither a run nor a bundle.
        BundleError: The bundle is damaged, or has no recorded outputs and no run.
        DeviceError: The backend, or every one, cannot compile a graph here.
    """
    target = open_target(path)
    bundle = Bundle.open(target.bundle_root)
    if target.run_root is None:
        words, images, reference = _recorded(bundle)
    else:
        words, images, reference = _torch(target.run_root, bundle)
    log(f"Reference: {words}, {len(images)} images.")
    backends = [name for name in backend_names() if probe_backend(name).available] if backend == "auto" else [backend]
    checks: list[Check] = []
    failures: list[EdgeAdError] = []
    for name in backends:
        try:
            check_opens(bundle, name, "fp32", "any")
            checks += [_check(bundle, name, kind, images, reference, threads) for kind in runnable(bundle, name)]
        except (DeviceError, EngineCrashError) as error:
            log(f"{name} cannot be used: {error.message}")
            failures.append(error)
    if failures and not checks:
        raise failures[-1]
    return Verification(words, len(images), checks)


def _recorded(bundle: Bundle) -> tuple[str, NDArray[np.uint8], list[Prediction]]:
    recorded = bundle.reference()
    return "torch fp32, as recorded at export", recorded.images, recorded_predictions(recorded)


def _torch(run_root: Path, bundle: Bundle) -> tuple[str, NDArray[np.uint8], list[Prediction]]:
    from edge_ad.data.pseudo_defects import PseudoDefects
    from edge_ad.export.reference_photos import reference_photos
    from edge_ad.training.runs import load_run, torch_predictor

    run = load_run(run_root)
    good = reference_photos(run, _IMAGES // 2)
    # A detector behaves otherwise where it finds something: masks open, skips close.
    images = np.concatenate([good, PseudoDefects(0).apply(good)[0]])
    predict = torch_predictor(run.detector)
    predictions = [predict(images[index : index + 1])[0] for index in range(len(images))]
    return "torch fp32, on held-out good images and pseudo-defects", images, predictions


def _check(
    bundle: Bundle,
    backend: str,
    precision: Precision,
    images: NDArray[np.uint8],
    reference: list[Prediction],
    threads: int,
) -> Check:
    with opened_engine(bundle, backend=backend, precision=precision, threads=threads) as engine:
        parity = parity_of_engine(bundle, engine, images, reference, batch=_BATCH)
        source = engine.describe().source
    return Check(f"{backend} {precision}", source, **vars(parity), passed=parity.passed)
