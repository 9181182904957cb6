"""Runs, bundles and saved documents side by side: what ``edge-ad compare`` and `edge_ad.compare` do."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edge_ad.data.products import Folders, open_product
from edge_ad.errors import DataError, UsageError
from edge_ad.evaluation.comparison import (
    COUNT_AS_DEFECTIVE,
    Candidate,
    Comparison,
    compare,
    folder_bytes,
    measured_candidate,
    read_documents,
)
from edge_ad.evaluation.evaluate import Progress
from edge_ad.photo_spec import PhotoSpec
from edge_ad.training.predictor import learned_defects, open_predictor, photos_of, trained_on

__all__ = ["compare_targets"]


def compare_targets(
    targets: Sequence[Path],
    data: Path | None,
    folders: Folders | None = None,
    *,
    skip_unreadable: bool = False,
    seconds: float = 2.0,
    backend: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    log: Callable[[str], None] = lambda text: None,
    progress: Progress | None = None,
) -> Comparison:
    """Measure runs and bundles on the same test photos, read saved documents, and put all side by side.

    Args:
        targets: Folders of runs and bundles; files of ``evaluate --json`` and ``benchmark --json``.
        data: Folder of the product, with test photos; None where only documents are compared.
        folders: Folders that the user names.
        skip_unreadable: Leave out test photos that cannot be read, or that one of the targets cannot judge for their
            shape or depth, instead of raising.
        seconds: Time to measure the latency of each for.
        backend: Backend of the engines of bundles, or ``"auto"``.
        precision: Precision of the engines of bundles, or ``"auto"``.
        threads: CPU threads; 0 lets the backend decide.
        log: Takes lines about the work.
        progress: Told after every batch.

    Raises:
        UsageError: Fewer than two targets, or nothing to test with.
        DataError: They were not measured on the same photos, or a file is something else.
    """
    folders = folders or Folders()
    documents = [(str(target), _read(target)) for target in targets if target.is_file()]
    measured = [target for target in targets if not target.is_file()]
    if measured and not (data or folders.good or folders.defects):
        raise UsageError("Say what to test with.", "edge-ad compare A B --data FOLDER")
    found: list[Candidate] = []
    learned = learned_defects(*measured)  # of any of them: all are measured on the same photos
    left_out = _unjudgeable(measured, data, folders) if skip_unreadable else frozenset()
    for target in measured:
        seen = trained_on(target)
        with open_predictor(target, backend=backend, precision=precision, threads=threads) as predictor:
            product = open_product(
                data, folders, part="test", trained_on=seen, learned_defects=learned, skip_unreadable=skip_unreadable
            )
            product = replace(product, test=tuple(test for test in product.test if test.path not in left_out))
            log(f"Scoring {len(product.test)} test images with {target} ({predictor.engine}).")
            one = measured_candidate(
                str(target), predictor, product, trained_on=seen, seconds=seconds, progress=progress
            )
        if one.evaluation is not None and one.evaluation.seen:
            log(f"warning: {target}: {one.evaluation.seen_words}.")
        if one.evaluation is not None and one.evaluation.unjudged:
            log(f"warning: {target}: {one.evaluation.unjudged_words_for(COUNT_AS_DEFECTIVE)}.")
        found.append(replace(one, size_bytes=folder_bytes(target)))
    return compare([*found, *read_documents(documents)])


def _unjudgeable(targets: Sequence[Path], data: Path | None, folders: Folders) -> frozenset[Path]:
    """Test photos that cannot be read, or that one of the targets cannot judge."""
    kinds: list[PhotoSpec] = []
    for target in targets:
        if (photos := photos_of(target)) not in kinds:
            kinds.append(photos)
    products = [open_product(data, folders, part="test", photos=photos, skip_unreadable=True) for photos in kinds]
    return frozenset(path for product in products for path in product.skipped)


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON.", "Save evaluate --json into a file.") from error
