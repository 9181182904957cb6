"""The workstation's half of the Python API: train, export and evaluate as the command line does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast, get_args

from edge_ad.bundle import Bundle
from edge_ad.errors import UsageError
from edge_ad.manifest import Precision

if TYPE_CHECKING:
    from edge_ad.data.geometry import AskedGeometry
    from edge_ad.data.products import Folders
    from edge_ad.evaluation.comparison import Comparison
    from edge_ad.evaluation.results import Evaluation
    from edge_ad.training.loop import EpochReport
    from edge_ad.training.runs import RunRecord

__all__ = ["Run", "compare", "evaluate", "train"]

AnyPath: TypeAlias = "str | PathLike[str]"

_log = logging.getLogger(__name__)


class Run:
    """A finished training run.

    Args:
        root: Its folder, as `train` or ``edge-ad train`` wrote it.

    Attributes:
        root: Its folder.
        record: What is recorded of it: method, parameters, split of the photos, times, versions.

    Raises:
        UsageError: Not a run.
        CheckpointError: It is not finished, or damaged.
    """

    def __init__(self, root: AnyPath) -> None:
        from edge_ad.training.runs import load_run, read_record

        self.root = Path(root)
        load_run(self.root)  # checked now, not when it is needed
        self.record: RunRecord = read_record(self.root)

    def __repr__(self) -> str:
        return f"Run({str(self.root)!r}, method={self.method!r}, product={self.record.product_name!r})"

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.record.method

    def export(
        self,
        path: AnyPath | None = None,
        *,
        precision: str = "auto",
        backend: str = "auto",
    ) -> Bundle:
        """Export the run, calibrate it behind the accuracy gate, and build this machine's engines.

        Args:
            path: Folder of the bundle; None leaves it in the run (``<run>/bundle``).
            precision: ``"auto"`` for FP32 and all that is faster here and passes its gate, or one precision.
            backend: ``"auto"`` or a backend's name.

        Returns:
            The bundle, engines included.

        Raises:
            UsageError: There is no such precision.
            QualityGateError: A precision that was asked for fails its gate; ``report`` has the figures and limits.
            DataError: The training photos are not where they were, or have changed.
            DeviceError: The backend does not work here.
            BundleError: ``path`` is something else than a bundle.
            StorageError: No space or no permission; nothing is left behind.
        """
        from edge_ad.bundle.bundle import check_replaceable, copy_bundle
        from edge_ad.export.build import build_engines

        if precision not in ("auto", *get_args(Precision)):
            choices = ", ".join(("auto", *get_args(Precision)))
            raise UsageError(f"There is no precision {precision!r}.", f"Choose: {choices}.")
        if path is not None:
            check_replaceable(Path(path))  # now, not after minutes
        precisions = None if precision == "auto" else (cast(Precision, precision),)
        build_engines(self.root, backend=backend, precisions=precisions, log=_log.info)
        bundle = Bundle.open(self.root / "bundle")
        return bundle if path is None else copy_bundle(bundle, Path(path))


def train(
    data: AnyPath | Iterable[AnyPath] | None = None,
    method: str | None = None,
    *,
    name: str | None = None,
    runs: AnyPath = "runs",
    good: AnyPath | Iterable[AnyPath] = (),
    labelled_defects: AnyPath | Iterable[AnyPath] = (),
    geometry: AskedGeometry | None = None,
    speed: str = "",
    preset: str = "",
    device: str = "auto",
    batch_size: int | None = None,
    skip_unreadable: bool = False,
    false_alarm_rate: float = 0.05,
    callbacks: Sequence[Callable[[EpochReport], None]] = (),
    **parameters: Any,
) -> Run:
    """Fit a detector to photos of good parts; no test photo is looked at.

    Args:
        data: Folder of the product's photos; a list adds folders of further photos, such as corrected verdicts.
        method: Name of a method; None for the one that measured best (`edge_ad.models.registry.DEFAULT_METHOD`).
        name: Name of the run; None for the product's.
        runs: Folder of the runs.
        good: Folder or folders of photos of good parts, where the product's folder does not tell them.
        labelled_defects: Folder or folders of photos of defective parts to learn from, with masks where there are any,
            for a method that does.
        geometry: How a photo fills the network's input: stretched, whole, its middle alone, or the part turned and cut
            out; ``"auto"``, the default, decides by the photos, and gives the input their shape.
        speed: What a frame may cost, ``"fast"``, ``"balanced"`` or ``"best"``: backbone and size of a detector on patch
            features, as `docs/explanation/methods.md` says; ``parameters`` go before it.
        preset: Parameters and settings that belong together, such as ``"published"`` for those of the method's paper;
            ``parameters`` and the other arguments go before it.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        batch_size: Images per step, where the method has steps; by default 4.
        skip_unreadable: Leave unreadable photos out instead of refusing.
        false_alarm_rate: Share of good parts that may be called defective; the threshold is set for it.
        callbacks: Called with a report after each epoch.
        **parameters: The method's own, such as ``size=256``, ``size=(160, 416)`` (height, width) or ``seed=1``;
            docs/explanation/methods.md lists them.

    Returns:
        The finished run.

    Raises:
        DataError: The photos cannot be used.
        UsageError: A parameter is wrong, or the run exists.
        StorageError: The run cannot be written.
    """
    from edge_ad.data.geometry import AskedGeometry
    from edge_ad.data.layouts.layout import common_root
    from edge_ad.data.products import Folders
    from edge_ad.method_names import DEFAULT_METHOD
    from edge_ad.training.request import TrainingRequest
    from edge_ad.training.train import train as fit_detector

    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch_size is 1 or more, not {batch_size}.")
    if geometry is not None and geometry not in get_args(AskedGeometry):
        raise UsageError(f"There is no geometry {geometry!r}.", f"Choose: {', '.join(get_args(AskedGeometry))}.")
    product, *more = _paths(() if data is None else data) or (None,)
    folders = Folders(_paths(good), more=tuple(path for path in more if path is not None))
    if product is None and not folders.good:
        raise UsageError("Say what to train on.", 'edge_ad.train("./screw"), or good=["photos/OK"]')
    request = TrainingRequest(
        method=method or DEFAULT_METHOD,
        data=product,
        root=Path(runs) / (name or (product or common_root(folders)).resolve().name),
        values=parameters,
        speed=speed,
        preset=preset,
        device=device,
        batch_size=batch_size,
        skip_unreadable=skip_unreadable,
        geometry=geometry,
        folders=folders,
        false_alarm_rate=false_alarm_rate,
        labelled=_paths(labelled_defects),
    )

    def listen(report: EpochReport) -> None:
        for callback in callbacks:
            callback(report)

    return Run(fit_detector(request, listen))


def evaluate(
    target: Run | Bundle | AnyPath,
    data: AnyPath | None = None,
    *,
    good: AnyPath | Iterable[AnyPath] = (),
    defects: AnyPath | Iterable[AnyPath] = (),
    masks: AnyPath | None = None,
    skip_unreadable: bool = False,
    backend: str = "auto",
    precision: str = "auto",
    threads: int = 0,
) -> Evaluation:
    """Measure a run or a bundle on test photos, which decide nothing.

    Args:
        target: A run or a bundle, opened or by its folder.
        data: Folder of the product, with test photos.
        good: Folder or folders of photos of good parts, where the product's folder does not tell them.
        defects: Folder or folders of photos of defective parts, likewise.
        masks: Folder of the masks of the defects, likewise.
        skip_unreadable: Leave out test photos that cannot be read, or whose shape or depth is not that of the photos
            that were trained on, instead of refusing.
        backend: Backend of a bundle's engine, or ``"auto"``.
        precision: Precision of a bundle's engine, or ``"auto"``.
        threads: CPU threads; 0 lets the backend decide.

    Returns:
        Metrics, scores, maps and verdicts: ``.image_auroc``, ``.pixel_auroc``, ``.pro``, ``.decisions`` and more.

    Raises:
        DataError: There are no test photos, or one cannot be read.
        UsageError: Neither a run nor a bundle.
    """
    from edge_ad.data.products import open_product
    from edge_ad.evaluation.evaluate import evaluate_loaded
    from edge_ad.training.predictor import learned_defects, open_predictor, trained_on

    path = target.root if isinstance(target, (Run, Bundle)) else Path(target)
    folders = _folders(good, defects, masks)
    seen = trained_on(path)
    with open_predictor(path, backend=backend, precision=precision, threads=threads) as predictor:
        product = open_product(
            None if data is None else Path(data),
            folders,
            part="test",
            trained_on=seen,
            learned_defects=learned_defects(path),
            skip_unreadable=skip_unreadable,
            photos=predictor.photos if skip_unreadable else None,
        )
        evaluation = evaluate_loaded(predictor, product, trained_on=seen)
    for words in filter(None, (evaluation.seen_words, evaluation.unjudged_words, evaluation.brightness_words)):
        _log.warning("%s.", words)
    return evaluation


def compare(
    targets: Sequence[Run | Bundle | AnyPath],
    data: AnyPath | None = None,
    *,
    good: AnyPath | Iterable[AnyPath] = (),
    defects: AnyPath | Iterable[AnyPath] = (),
    masks: AnyPath | None = None,
    skip_unreadable: bool = False,
    report: AnyPath | None = None,
    seconds: float = 2.0,
    backend: str = "auto",
    precision: str = "auto",
    threads: int = 0,
) -> Comparison:
    """Put detectors side by side on the same test photos, which decide nothing.

    Args:
        targets: Two or more runs and bundles, opened or by their folders, or files of ``edge-ad evaluate --json``.
        data: Folder of the product, with test photos; None where only files are compared.
        good: Folder or folders of photos of good parts, where the product's folder does not tell them.
        defects: Folder or folders of photos of defective parts, likewise.
        masks: Folder of the masks of the defects, likewise.
        skip_unreadable: Leave out test photos that cannot be read, or that one of the detectors cannot judge.
        report: Folder to write a page into, with the photos on which they differ; None writes none.
        seconds: Time to measure the latency of each for, in seconds.
        backend: Backend of the bundles' engines, or ``"auto"``.
        precision: Precision of the bundles' engines, or ``"auto"``.
        threads: CPU threads; 0 lets the backend decide.

    Returns:
        ``.candidates`` with metrics, verdicts, latency in milliseconds and size in bytes, and ``.disagreements``.

    Raises:
        UsageError: Fewer than two targets, or nothing to test with.
        DataError: They were not measured on the same photos, or one of them cannot be read.
        StorageError: The page cannot be written.
    """
    from edge_ad.evaluation.comparison import COUNT_AS_DEFECTIVE
    from edge_ad.evaluation.comparison_page import write_comparison
    from edge_ad.training.target_comparison import compare_targets

    comparison = compare_targets(
        [target.root if isinstance(target, (Run, Bundle)) else Path(target) for target in targets],
        None if data is None else Path(data),
        _folders(good, defects, masks),
        skip_unreadable=skip_unreadable,
        seconds=seconds,
        backend=backend,
        precision=precision,
        threads=threads,
        log=_log.info,
    )
    for candidate in comparison.candidates:
        if candidate.evaluation is not None and candidate.evaluation.seen:
            _log.warning("%s: %s.", candidate.name, candidate.evaluation.seen_words)
        if candidate.evaluation is not None and candidate.evaluation.unjudged:
            _log.warning("%s: %s.", candidate.name, candidate.evaluation.unjudged_words_for(COUNT_AS_DEFECTIVE))
    if report is not None and (missing := write_comparison(Path(report), comparison).missing):
        _log.warning("The report has no page: %s", missing)
    return comparison


def _paths(folders: AnyPath | Iterable[AnyPath]) -> tuple[Path, ...]:
    """One folder, or several."""
    if isinstance(folders, (str, PathLike)):
        return (Path(folders),)
    return tuple(Path(folder) for folder in folders)


def _folders(good: AnyPath | Iterable[AnyPath], defects: AnyPath | Iterable[AnyPath], masks: AnyPath | None) -> Folders:
    from edge_ad.data.products import Folders

    return Folders(
        _paths(good),
        _paths(defects),
        None if masks is None else Path(masks),
    )
