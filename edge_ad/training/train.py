"""From a folder of photos of good parts to a finished run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from torch import Tensor

from edge_ad import __version__
from edge_ad.data.blocks import split_in_blocks
from edge_ad.data.geometry import ChosenGeometry, choose_geometry, without_unaligned
from edge_ad.data.layouts.layout import is_within
from edge_ad.data.photo_measures import measure_photos
from edge_ad.data.products import Folders, open_product
from edge_ad.data.samples import Product, Sample
from edge_ad.data.splits import GoodSplit, fitted_on_all
from edge_ad.errors import CheckpointError, StorageError, UsageError
from edge_ad.evaluation.thresholds import conformal_rank
from edge_ad.models.base import AnomalyDetector
from edge_ad.models.published import TrainingSettings
from edge_ad.models.registry import create_detector, method_class, parse_parameters
from edge_ad.storage import storage_errors
from edge_ad.strict_json import to_json
from edge_ad.training.checkpoints import Progress, load_tensors, restore_training, save_tensors
from edge_ad.training.cross_fitting import cross_fitted_scores, is_cross_fitted
from edge_ad.training.feature_cache import byte_limit
from edge_ad.training.held_out_defects import choose_mosaic_scale
from edge_ad.training.labelled_defects import (
    check_learns_from_defects,
    labelled_records,
    labelled_samples,
    read_labelled,
)
from edge_ad.training.loop import EpochReport, run_stages
from edge_ad.training.precision import choose_device
from edge_ad.training.preparation import fit_after_training, loop_settings, prepare
from edge_ad.training.recorded_photos import check_names, folders_record, recorded_name, same_photos, split_record
from edge_ad.training.request import TrainingRequest, named_values, training_settings
from edge_ad.training.runs import (
    CHECKPOINT_FILE,
    RESUME_FILE,
    RunRecord,
    load_run,
    read_record,
    write_record,
)

__all__ = ["resume", "train"]

_SECONDS_BETWEEN_CHECKPOINTS = 20.0
_LOG_FILE = "log.jsonl"
_log = logging.getLogger(__name__)

Listener = Callable[[EpochReport], None]


def train(request: TrainingRequest, listen: Listener) -> Path:
    """Train a detector on the good images of a product.

    Args:
        request: What to train.
        listen: Called after each epoch.

    Returns:
        The folder of the finished run.

    Raises:
        DataError: The images cannot be used.
        UsageError: A parameter is wrong, or the run exists.
        CheckpointError: ``ear`` is not a finished run of that method.
        StorageError: The run cannot be written.
        KeyboardInterrupt: Stopped; the last whole epoch is saved.
    """
    _check_before(request)
    request, settings, start = _with_all_values(request)
    fixed = {key: value for key, value in request.values.items() if (key, value) != ("mosaic", "auto")}
    parse_parameters(request.method, fixed)
    if request.labelled:
        check_learns_from_defects(request.method)
    product = open_product(request.data, request.folders, part="good", skip_unreadable=request.skip_unreadable)
    check_names(request.folders, product)
    samples = labelled_samples(request.labelled, request.folders.masks)
    photos = measure_photos(product.good)
    detector = create_detector(request.method, fixed)
    split = split_in_blocks(
        product.good,
        photos,
        seed=detector.config.seed,
        cross_fitted=is_cross_fitted(detector),
        fewest=detector.fewest_photos,
        further=_further(product, request.folders),
    )
    request, split = _with_geometry(request, settings, split, detector)
    values, choices = _choose(request, split)
    if settings.all_photos:
        split = fitted_on_all(split)
    if values != fixed:
        detector = create_detector(request.method, values)
    record = _new_record(request, settings, product, split, detector, choices, samples)
    if start is not None:
        _write_start(request.root, detector, start)
    write_record(request.root, record)
    return _train(request.root, record, detector, split, product.root, listen)


def _check_before(request: TrainingRequest) -> None:
    """Refuse what is wrong before a photo is read: a refused request leaves no run behind."""
    if (request.root / "run.json").exists():
        raise UsageError(f"There is a run in {request.root} already.", "Give another --name, or --resume it.")
    choose_device(request.device)
    conformal_rank(1, request.false_alarm_rate)
    byte_limit()


def _with_all_values(
    request: TrainingRequest,
) -> tuple[TrainingRequest, TrainingSettings, dict[str, Tensor] | None]:
    """The request with its method's own name and every value that is set, by its preset or by the run it goes on from.

    Returns:
        That, the settings of the training, and the weights to start from; None for those of a new detector.
    """
    kind = method_class(request.method).parameters_type
    speed = named_values(request, "speed", request.speed, kind.speeds)
    preset = named_values(request, "preset", request.preset, kind.all_presets())
    settings = training_settings(request, preset)
    taught = kind.taught if request.labelled else {}
    own = {name: value for name, value in preset.items() if name not in TrainingSettings.names()}
    start: dict[str, Tensor] | None = None
    if request.ear is not None:
        request, start = _continued(request, request.ear, {**speed, **own})
    else:
        request = replace(request, values={**taught, **speed, **own, **request.values})
    return replace(request, method=method_class(request.method).method), settings, start


def _write_start(root: Path, detector: AnomalyDetector, start: Mapping[str, Tensor]) -> None:
    """Write the weights to start from, before the record: a run that is killed in between never began."""
    tensors = {f"detector.{name}": value for name, value in start.items()}
    save_tensors(root / RESUME_FILE, tensors, {"stage": str(len(detector.stages()) - 1), "epoch": "0"})


def resume(root: Path, listen: Listener, *, method: str | None = None) -> Path:
    """Go on with a training that was stopped, exactly where it would have gone on.

    Args:
        root: Folder of the run.
        listen: Called after each epoch.
        method: The method that the caller expects; None for whatever it is.

    Raises:
        UsageError: Not a run.
        CheckpointError: A run of another method, finished already, or its images changed.
    """
    record = read_record(root)
    if method is not None and method != record.method:
        raise CheckpointError(
            f"The run {root} is of method {record.method!r}, not {method!r}.",
            f"Resume it with: edge-ad train {record.method} --resume {root}",
        )
    if record.status == "finished":
        raise CheckpointError(f"The run {root} is finished.", "Give --name to train another one.")
    product_root = Path(record.product_root)
    split = replace(same_photos(record.split, product_root), photos=record.photos)
    return _train(root, record, create_detector(record.method, _parameters(record)), split, product_root, listen)


def _parameters(record: RunRecord) -> dict[str, Any]:
    """Those of a run, with what a run was trained with that is too old to record it."""
    return {**method_class(record.method).parameters_type.absent, **record.parameters}


def _train(
    root: Path, record: RunRecord, detector: AnomalyDetector, split: GoodSplit, product_root: Path, listen: Listener
) -> Path:
    # The folder as the paths of the split begin with it, which may be relative or a link; the record's is resolved.
    settings = loop_settings(record.training, detector)
    labelled = read_labelled(record.labelled, product_root, detector.config.size_hw, split.photos)
    data = prepare(detector, split, settings.device, labelled)
    keeper = _CheckpointKeeper(root, listen)
    began = time.monotonic()
    try:
        run_stages(detector, data, settings, keeper, _saved(root))
    except KeyboardInterrupt:
        keeper.save()
        raise
    except StorageError as error:
        raise StorageError(error.message, f"{error.hint} Then: edge-ad train --resume {root}".lstrip()) from error
    fit_after_training(detector.cpu(), split, settings.device)
    scores = cross_fitted_scores(detector, split, settings.device)
    left_out, fitted = ({recorded_name(path, product_root): score for path, score in part.items()} for part in scores)
    record = record.model_copy(update={"good_scores": left_out, "fitted_scores": fitted})
    _finish(root, record, detector, time.monotonic() - began)
    return root


class _CheckpointKeeper:
    """Writes the newest epoch to disk, at most every few seconds, and a line per epoch to the log."""

    def __init__(self, root: Path, listen: Listener) -> None:
        self._root, self._listen = root, listen
        self._newest: EpochReport | None = None
        self._saved_at = float("-inf")

    def __call__(self, report: EpochReport) -> None:
        self._newest = report
        self._log(report)
        if time.monotonic() - self._saved_at > _SECONDS_BETWEEN_CHECKPOINTS:
            self.save()
        self._listen(report)

    def save(self) -> None:
        if self._newest is not None:
            stage, epoch = self._newest.progress
            metadata = {"stage": str(stage), "epoch": str(epoch)}
            save_tensors(self._root / RESUME_FILE, self._newest.tensors, metadata)
            self._saved_at = time.monotonic()

    def _log(self, report: EpochReport) -> None:
        line = {
            "stage": report.stage,
            "epoch": report.progress.epoch,
            "learning_rate": report.learning_rate,
            "seconds": round(report.seconds, 3),
            **({} if report.waited_seconds is None else {"waited_seconds": round(report.waited_seconds, 3)}),
            **report.losses,
        }
        path = self._root / _LOG_FILE
        with storage_errors(path), path.open("a", encoding="utf-8") as file:
            file.write(to_json(line) + "\n")


def _saved(root: Path) -> tuple[Progress, dict[str, Tensor]] | None:
    path = root / RESUME_FILE
    if not path.is_file():
        return None
    tensors, metadata = load_tensors(path)
    return Progress(int(metadata["stage"]), int(metadata["epoch"])), tensors


def _finish(root: Path, record: RunRecord, detector: AnomalyDetector, seconds: float) -> None:
    sha256 = save_tensors(root / CHECKPOINT_FILE, detector.state_dict(), {"method": record.method})
    training = {**record.training, "seconds": round(seconds, 1)}
    changes = {"status": "finished", "training": training, "checkpoint_sha256": sha256}
    write_record(root, record.model_copy(update=changes))
    (root / RESUME_FILE).unlink(missing_ok=True)


def _continued(
    request: TrainingRequest, root: Path, preset: Mapping[str, Any]
) -> tuple[TrainingRequest, dict[str, Tensor]]:
    """A method on a finished run of the one it continues: that one's parameters, and its weights to start from.

    What that run has goes before the preset.
    """
    wanted = method_class(request.method).continues
    if not wanted:
        raise UsageError(f"{request.method} does not go on from a run.", "Leave --ear out.")
    run = load_run(root)
    if run.method != wanted:
        raise CheckpointError(f"The run {root} is of method {run.method!r}, not {wanted!r}.", f"Name an {wanted} run.")
    values = {**preset, **run.parameters, **request.values}
    changed = [key for key in run.parameters if values[key] != run.parameters[key]]
    if changed:
        raise UsageError(
            f"{', '.join(changed)} cannot differ from those of {root}.", "Leave them out, or train that one anew."
        )
    request = replace(request, values=values)
    detector = create_detector(request.method, values)
    state = {**detector.state_dict(), **run.detector.state_dict()}
    restore_training({f"detector.{name}": value for name, value in state.items()}, detector, None)
    return request, detector.state_dict()


def _with_geometry(
    request: TrainingRequest, settings: TrainingSettings, split: GoodSplit, detector: AnomalyDetector
) -> tuple[TrainingRequest, GoodSplit]:
    """The request with the size of the input, and the split with how photos fill it and without those that cannot."""
    config = detector.config
    chosen = _geometry_of(request.ear) if request.ear is not None else None
    if chosen is None:
        multiple = detector.size_multiple(config)
        asked, share = settings.geometry, settings.crop_share
        chosen = choose_geometry(split.fit, split.photos, asked, config.size, multiple, share, config.most_part_share)
    split = without_unaligned(replace(split, photos=chosen.photos))
    return replace(request, values={**request.values, "size": chosen.size}), split


def _further(product: Product, folders: Folders) -> list[Path]:
    """The photos that lie in further folders of the product."""
    return [path for path in product.good if folders.more and is_within(path, folders.more)]


def _geometry_of(root: Path) -> ChosenGeometry:
    """Of a run that another goes on from: its weights hold for it alone."""
    run = load_run(root)
    return ChosenGeometry(run.split.photos, run.detector.config.size)


def _choose(request: TrainingRequest, split: GoodSplit) -> tuple[dict[str, Any], dict[str, Any]]:
    """Replace parameters given as ``auto`` by what measures best on held-out good images and pseudo-defects."""
    values = dict(request.values)
    if values.get("mosaic") != "auto":
        return values, {}
    del values["mosaic"]
    scale, figures = choose_mosaic_scale(values, split, prepare, choose_device(request.device))
    return {**values, "mosaic": scale}, {"mosaic": {str(key): value for key, value in figures.items()}}


def _new_record(
    request: TrainingRequest,
    settings: TrainingSettings,
    product: Product,
    split: GoodSplit,
    detector: AnomalyDetector,
    choices: dict[str, Any],
    labelled: Sequence[Sample],
) -> RunRecord:
    from edge_ad.training.runs import package_versions

    recorded = split_record(split, product.root)
    good = {*recorded.fit.values(), *recorded.calibrate.values(), *recorded.threshold.values()}
    return RunRecord(
        method=request.method,
        parameters=detector.config.model_dump(mode="json"),
        choices=choices,
        status="training",
        product_root=str(product.root.resolve()),
        folders=folders_record(request.folders),
        product_name=product.name,
        photos=split.photos,
        split=recorded,
        labelled=labelled_records(labelled, product.root, good),
        false_alarm_rate=request.false_alarm_rate,
        training={
            "device": str(choose_device(request.device)),
            "batch_size": settings.batch_size,
            "flips": settings.flips and detector.mirrors,
            "mixed_precision": settings.mixed_precision,
            **({"preset": request.preset} if request.preset else {}),
            **({"speed": request.speed} if request.speed else {}),
            **({"compiled": True} if request.compiled else {}),
            **({} if detector.simulator is None else {"workers": request.workers}),
        },
        versions={"edge-ad": __version__, **package_versions()},
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
