"""A run: the folder that a training leaves, and what can be opened again."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, JsonValue, ValidationError

from edge_ad.data.products import Folders
from edge_ad.data.splits import GoodSplit
from edge_ad.errors import CheckpointError, UsageError
from edge_ad.evaluation.engine_threshold import GoodScores
from edge_ad.manifest import Document
from edge_ad.models.base import AnomalyDetector
from edge_ad.models.registry import method_class, restore_detector
from edge_ad.photo_spec import PhotoSpec
from edge_ad.prediction import Prediction
from edge_ad.storage import sha256_file, write_file
from edge_ad.training.checkpoints import load_tensors
from edge_ad.training.feature_cache import to_tensor

__all__ = [
    "CHECKPOINT_FILE",
    "RESUME_FILE",
    "LabelledRecord",
    "Run",
    "RunRecord",
    "SplitRecord",
    "good_scores",
    "load_run",
    "package_versions",
    "read_record",
    "torch_predictor",
    "write_record",
]

_PACKAGES = ("torch", "numpy", "opencv-python", "onnx", "onnxscript", "onnxruntime", "openvino")
RECORD_FILE = "run.json"
CHECKPOINT_FILE = "checkpoint.safetensors"
RESUME_FILE = "training.safetensors"


def package_versions() -> dict[str, str]:
    """Package → version, for those that are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class SplitRecord(Document):
    """The split of the good images: content hash of each file by its path below the product's folder.

    ``folds`` and ``duplicates`` are paths, as in `GoodSplit`; runs of before have neither, and were split by chance.
    """

    seed: int
    fit: dict[str, str]
    calibrate: dict[str, str]
    threshold: dict[str, str]
    folds: list[list[str]] = Field(default_factory=list)
    duplicates: list[list[str]] = Field(default_factory=list)
    in_blocks: bool = False


class LabelledRecord(Document):
    """A photo of a defective part that was learned from.

    Attributes:
        photo: Its path below the product's folder, absolute in another one.
        sha256: Hash of its content.
        masks: Likewise of its masks: path → hash; empty where nobody marked the place.
    """

    photo: str
    sha256: str
    masks: dict[str, str] = Field(default_factory=dict)


class RunRecord(Document):
    """Contents of ``run.json``.

    Attributes:
        schema_version: Version of this schema.
        method: Method name.
        parameters: Its parameters, all of them.
        choices: How parameters given as ``auto`` were chosen: name → candidate → figure.
        status: ``training`` until the last epoch is done.
        product_root: Folder of the images.
        folders: ``good``, ``defects``, ``masks`` and ``more`` → absolute paths of the folders that were named; empty
            where the product's folder told them.
        product_name: Name of the product.
        photos: What its good images are like, and how they fill the network's input.
        split: The split of its good images.
        labelled: Photos of defective parts that were learned from.
        false_alarm_rate: Share of good parts that may be called defective, as asked for.
        good_scores: Score of each good photo by a detector that was fitted on the other folds, in torch and float32;
            empty where the split has no folds.
        fitted_scores: Score of each photo of the first fold by the deployed detector, likewise, where that was fitted
            on it too; empty without folds, and in runs of before.
        training: Settings of the loop and what it took.
        versions: Package → version.
        checkpoint_sha256: Of the file of the weights; empty while there is none, and in runs of before.
        created: ISO 8601, UTC.
    """

    schema_version: int = 1
    method: str
    parameters: dict[str, JsonValue]
    choices: dict[str, JsonValue] = Field(default_factory=dict)
    status: Literal["training", "finished"]
    product_root: str
    folders: dict[str, list[str]] = Field(default_factory=dict)
    product_name: str
    photos: PhotoSpec = PhotoSpec()
    split: SplitRecord
    labelled: list[LabelledRecord] = Field(default_factory=list)
    false_alarm_rate: float = Field(default=0.01, gt=0, lt=1)
    good_scores: dict[str, float] = Field(default_factory=dict)
    fitted_scores: dict[str, float] = Field(default_factory=dict)
    training: dict[str, JsonValue] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    checkpoint_sha256: str = ""
    created: str


@dataclass(frozen=True)
class Run:
    """A finished run, opened.

    Attributes:
        root: Its folder.
        method: Method name.
        parameters: The method's parameters.
        detector: The trained detector, in evaluation mode on the CPU.
        product_root: Folder of the images it was trained on.
        product_name: Name of the product.
        split: The split of its good images.
        image_hashes: Content hash of each of them, as it was when the training began.
        folders: Folders that were named for it, because the product's folder did not tell.
        false_alarm_rate: Share of good parts that may be called defective, as asked for.
        good_scores: Score of each good photo by a detector that was fitted on the other folds; empty without folds.
        fitted_scores: Score of each photo of the first fold by this detector, where it was fitted on it too.
        labelled: Photos of defective parts that were learned from.
    """

    root: Path
    method: str
    parameters: dict[str, Any]
    detector: AnomalyDetector
    product_root: Path
    product_name: str
    split: GoodSplit
    image_hashes: Mapping[Path, str]
    folders: Folders = field(default_factory=Folders)
    false_alarm_rate: float = 0.01
    good_scores: Mapping[Path, float] = field(default_factory=dict)
    fitted_scores: Mapping[Path, float] = field(default_factory=dict)
    labelled: Sequence[LabelledRecord] = ()


def write_record(root: Path, record: RunRecord) -> None:
    """Write ``run.json`` atomically.

    Raises:
        StorageError: It cannot be written.
    """
    write_file(root / RECORD_FILE, record.model_dump_json(indent=2).encode() + b"\n")


def read_record(root: Path) -> RunRecord:
    """Read ``run.json``.

    Raises:
        UsageError: Not a run.
        CheckpointError: A run of another version of edge-ad, or damaged.
    """
    path = root / RECORD_FILE
    if not path.is_file():
        raise UsageError(f"{root} is not a run: it has no {RECORD_FILE}.", "Name a folder that train wrote.")
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CheckpointError(f"{path} cannot be read: {where}: {first['msg']}.", "Train again.") from error


def load_run(root: Path) -> Run:
    """Open a finished run.

    Raises:
        UsageError: Not a run.
        CheckpointError: Not finished, damaged, or of weights that were changed.
    """
    record = read_record(root)
    if record.status != "finished":
        raise CheckpointError(f"The run {root} is not finished.", f"Finish it: edge-ad train --resume {root}")
    tensors, metadata = load_tensors(root / CHECKPOINT_FILE)
    if metadata.get("method") != record.method:
        raise CheckpointError(
            f"The checkpoint in {root} is of method {metadata.get('method')!r}, the run of {record.method!r}.",
            "Train again, or restore the checkpoint that belongs here.",
        )
    if record.checkpoint_sha256 not in ("", sha256_file(root / CHECKPOINT_FILE)):
        raise CheckpointError(
            f"{root / CHECKPOINT_FILE} was changed or damaged: it is not the file that {RECORD_FILE} names.",
            "Copy the whole run again from where it is whole, or train again.",
        )
    method_class(record.method)  # a method that is not installed is said before anything else
    try:
        detector = restore_detector(record.method, record.parameters, tensors)
    except UsageError as error:  # a parameter or a value that this version does not have any more
        raise CheckpointError(f"The run {root} cannot be opened: {error.message}", _renewal(record)) from error
    except RuntimeError as error:
        raise CheckpointError(f"The checkpoint in {root} does not fit {record.method}.", "Train again.") from error
    product_root = Path(record.product_root)
    split = _absolute_split(record.split, product_root, record.photos)
    hashes = {product_root / name: digest for part in _parts(record.split) for name, digest in part.items()}
    return Run(
        root,
        record.method,
        record.parameters,
        detector,
        product_root,
        record.product_name,
        split,
        hashes,
        _named_folders(record),
        record.false_alarm_rate,
        {product_root / name: score for name, score in record.good_scores.items()},
        {product_root / name: score for name, score in record.fitted_scores.items()},
        record.labelled,
    )


def good_scores(run: Run) -> GoodScores:
    """What the thresholds of a run's engines are set from.

    Raises:
        CheckpointError: The scores are not those of all good photos.
    """
    split = run.split
    if not split.folds:
        if not split.in_blocks:
            return GoodScores(run.false_alarm_rate)
        rate, trained_on = run.false_alarm_rate, split.has_no_held_out
        return GoodScores.of_block(rate, split.threshold, split.duplicates, is_trained_on=trained_on)
    paths = [path for fold in split.folds for path in fold]
    if sorted(paths) != sorted(run.good_scores) or split.folds[0] != (*split.calibrate, *split.threshold):
        raise CheckpointError(f"The scores in {run.root / RECORD_FILE} are not those of its photos.", "Train again.")
    if set(run.fitted_scores) != (set(split.folds[0]) if split.is_fitted_on_all else set()):
        raise CheckpointError(f"The scores in {run.root / RECORD_FILE} are not of this split.", "Train again.")
    return GoodScores.of_folds(run.false_alarm_rate, split.folds, split.duplicates, run.good_scores, run.fitted_scores)


def torch_predictor(
    detector: AnomalyDetector, device: torch.device | str = "cpu"
) -> Callable[[NDArray[np.uint8]], list[Prediction]]:
    """The detector as a function of uint8 BGR images (N, H, W, 3), eager and in float32.

    Args:
        detector: On the device.
        device: Where it is.
    """

    @torch.inference_mode()
    def predict(images: NDArray[np.uint8]) -> list[Prediction]:
        output = detector(to_tensor(images, device))
        pairs = zip(output.score.tolist(), output.anomaly_map.cpu(), strict=True)
        return [Prediction(score, anomaly_map[0].numpy()) for score, anomaly_map in pairs]

    return predict


def _renewal(record: RunRecord) -> str:
    """What trains a run's method anew on its photos."""
    good = [f"--good {shlex.quote(path)}" for path in record.folders.get("good", ())]
    photos = good or [f"--data {shlex.quote(record.product_root)}"]
    return f"Train it anew: edge-ad train {' '.join([record.method, *photos])}"


def _named_folders(record: RunRecord) -> Folders:
    good, defects, masks, more = (
        tuple(Path(path) for path in record.folders.get(kind, ())) for kind in ("good", "defects", "masks", "more")
    )
    return Folders(good, defects, masks[0] if masks else None, more)


def _absolute_split(record: SplitRecord, root: Path, photos: PhotoSpec) -> GoodSplit:
    fit, calibrate, threshold = (tuple(root / name for name in part) for part in _parts(record))
    folds, duplicates = (
        tuple(tuple(root / name for name in part) for part in parts) for parts in (record.folds, record.duplicates)
    )
    return GoodSplit(record.seed, fit, calibrate, threshold, photos, folds, duplicates, record.in_blocks)


def _parts(record: SplitRecord) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    return record.fit, record.calibrate, record.threshold
