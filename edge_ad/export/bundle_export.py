"""Run → bundle: the FP32 graph, its threshold, and reference outputs to check every engine against."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad import __version__
from edge_ad.bundle import Bundle, Reference, write_bundle
from edge_ad.bundle.bundle import SCENE_FILE
from edge_ad.bundle.documents import to_bytes
from edge_ad.calibration.calibration_set import HeldImages
from edge_ad.calibration.graph_runner import run_graph
from edge_ad.data.pseudo_defects import PseudoDefects
from edge_ad.data.splits import GoodSplit, content_hash
from edge_ad.errors import BundleError, DataError, QualityGateError
from edge_ad.evaluation.engine_threshold import GoodScores
from edge_ad.export.onnx_export import export_onnx
from edge_ad.export.reference_photos import reference_photos
from edge_ad.images import read_image, read_resized
from edge_ad.manifest import GraphInfo, Manifest, SplitInfo
from edge_ad.runtime.parity import ONNX_TOLERANCE, Deviation, compare, recorded_predictions, sorts
from edge_ad.scene import SceneLimits, SceneMeasures, measure_scene
from edge_ad.strict_json import to_json
from edge_ad.training.runs import Run, good_scores, torch_predictor
from edge_ad.training.runs import package_versions

__all__ = ["BUNDLE_FOLDER", "export_run", "fingerprint", "is_current"]

BUNDLE_FOLDER = "bundle"
_GRAPH_FILE = "model.onnx"
_REFERENCE_FILE = "reference.npz"
_SOURCE_FILE = "precision/source.json"
_REFERENCE_IMAGES = 8
_REFERENCE_DEFECTS = 4
_BATCH = 4

Log = Callable[[str], None]


def export_run(run: Run, log: Log = lambda text: None) -> Bundle:
    """Export a run to ``<run>/bundle``, replacing a bundle that is there.

    The threshold is set on held-out images with the exported graph itself; see `GoodScores`.

    Args:
        run: The run.
        log: Told about each step.

    Raises:
        DataError: The images of the run are not where they were, or have changed.
        QualityGateError: The exported graph does not give the trained numbers; nothing is written.
        StorageError: No space or no permission; nothing is left behind.
    """
    size_hw = run.detector.config.size_hw
    split = _split_info(run.split)
    _check_images(run, split)
    log(f"Exporting {run.method} of {run.product_name} at {size_hw[0]} x {size_hw[1]}.")
    model = export_onnx(run.detector)
    reference = _reference(run, reference_photos(run))
    predictions, recorded = run_graph(model, reference.images), recorded_predictions(reference)
    deviation = compare(predictions, recorded, ONNX_TOLERANCE, is_sorted=sorts(run.parameters))
    _check(deviation)
    log(f"The graph differs from torch by {deviation.score:.1e} (score) and {deviation.map:.1e} (map) at most.")
    scored = HeldImages(run.split, (), size_hw).scored
    threshold = good_scores(run).threshold([prediction.score for prediction in run_graph(model, scored)])
    manifest = Manifest(
        method=run.method,
        parameters=run.detector.config.model_dump(mode="json"),
        product=run.product_name,
        input_size_hw=size_hw,
        photos=run.split.photos,
        graphs={"fp32": GraphInfo(file=_GRAPH_FILE, threshold=threshold)},
        split=split,
        labelled_defects=[labelled.sha256 for labelled in run.labelled],
        versions={"edge-ad": __version__, **package_versions()},
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    files: dict[str, bytes | Path] = {
        _GRAPH_FILE: model.SerializeToString(),
        _REFERENCE_FILE: reference.to_bytes(),
        _SOURCE_FILE: to_json({"run": fingerprint(run)}).encode(),
    }
    scene = _scene_limits(run.split, size_hw)
    if scene is not None:
        files[SCENE_FILE] = to_bytes(scene)
    return write_bundle(run.root / BUNDLE_FOLDER, manifest, files)


def _scene_limits(split: GoodSplit, size_hw: tuple[int, int]) -> SceneLimits | None:
    """How all good photos of a run look to the network; none is kept, since they may be many."""
    spec = split.photos

    def measure(path: Path) -> SceneMeasures:
        return measure_scene(spec.to_input(read_image(path, spec.significant_bits), size_hw))

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # decoding releases the interpreter lock
        return SceneLimits.of(pool.map(measure, dict.fromkeys((*split.fit, *split.calibrate, *split.threshold))))


def _check_images(run: Run, found: SplitInfo) -> None:
    """Refuse images that are not those of the training: the threshold is set on some of them."""
    for part in ("fit", "calibrate", "threshold"):
        for path, digest in zip(getattr(run.split, part), getattr(found, part), strict=True):
            if run.image_hashes[path] != digest:
                raise DataError(f"{path} is not the image the run was trained with.", "Put it back, or train again.")


def is_current(run: Run) -> Bundle | None:
    """The bundle of a run when it was exported from the run as it is now."""
    root = run.root / BUNDLE_FOLDER
    if not (root / "manifest.json").is_file():
        return None
    try:
        bundle = Bundle.open(root)
        recorded = json.loads((root / _SOURCE_FILE).read_bytes())
    except (BundleError, OSError, ValueError, RecursionError):
        return None  # damaged: it is written again
    return bundle if recorded == {"run": fingerprint(run)} else None


def fingerprint(run: Run) -> str:
    """SHA-256 over what an export depends on: version, parameters, weights, the split and what sets the threshold."""
    form = run.detector.graph_form
    digest = hashlib.sha256(f"{__version__} {form} {run.method}".encode())
    digest.update(run.detector.config.model_dump_json().encode())
    for name, tensor in sorted(run.detector.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    digest.update(_split_info(run.split).model_dump_json().encode())
    if run.split.photos.alignment is not None:
        digest.update(run.split.photos.model_dump_json().encode())
    if run.labelled:
        digest.update(repr(run.labelled).encode())
    rule = good_scores(run)
    if rule != GoodScores():  # of runs of before nothing changes
        digest.update(repr(rule).encode())
    return digest.hexdigest()


def _split_info(split: GoodSplit) -> SplitInfo:
    return SplitInfo(
        seed=split.seed,
        fit=_hashes(split.fit),
        calibrate=_hashes(split.calibrate),
        threshold=_hashes(split.threshold),
    )


def _hashes(paths: Sequence[Path]) -> list[str]:
    try:
        return [content_hash(path) for path in paths]
    except DataError as error:
        raise DataError(error.message, "The images the run was trained on must still be there.") from error


def _reference(run: Run, images: NDArray[np.uint8]) -> Reference:
    """Outputs on good photos and on pseudo-defects: on good ones alone, an engine that finds nothing gives the same."""
    defective = PseudoDefects(0).apply(images[:_REFERENCE_DEFECTS])[0]
    chosen = np.concatenate([images[:_REFERENCE_IMAGES], defective])
    predict = torch_predictor(run.detector)
    predictions = [predict(chosen[index : index + 1])[0] for index in range(len(chosen))]
    return Reference(
        images=chosen,
        scores=np.array([prediction.score for prediction in predictions], np.float32),
        maps=np.stack([prediction.anomaly_map for prediction in predictions]).astype(np.float32),
    )


def _check(deviation: Deviation) -> None:
    if not deviation.is_within:
        pixels = deviation.map_typical if deviation.is_sorted else deviation.map
        raise QualityGateError(
            f"The exported graph differs from the trained network by {max(deviation.score, pixels):.1e}; "
            f"{deviation.tolerance:.0e} is allowed ({deviation.outliers} of {deviation.images} images).",
            "Nothing was written. Please report it with the method and its parameters.",
        )
