"""Train a run again with labelled findings, compare old and new, and propose the new bundle; nothing is swapped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edge_ad.bundle import Bundle
from edge_ad.data.products import Folders, open_product
from edge_ad.errors import DataError, QualityGateError, UsageError
from edge_ad.evaluation.comparison import Comparison
from edge_ad.evaluation.comparison_page import write_comparison
from edge_ad.export.build import build_engines, run_of
from edge_ad.export.bundle_export import export_run, is_current
from edge_ad.manifest import Precision
from edge_ad.models.registry import method_class
from edge_ad.retraining.findings import Findings, not_learned, read_findings, write_findings
from edge_ad.retraining.lineage import Lineage, own_findings
from edge_ad.retraining.page import render_proposal
from edge_ad.retraining.request import earlier_defects, training_request
from edge_ad.retraining.test_photos import without_test_photos
from edge_ad.storage import sha256_file, write_file
from edge_ad.streaming.records.reader import RecordFilter
from edge_ad.strict_json import to_json
from edge_ad.training.loop import EpochReport
from edge_ad.training.predictor import learned_defects
from edge_ad.training.runs import Run, load_run, read_record
from edge_ad.training.target_comparison import compare_targets
from edge_ad.training.train import train

__all__ = ["Proposal", "RetrainRequest", "propose"]

_FINDINGS, _HELD_OUT = "findings", "held_out"
_WORDS = {_FINDINGS: "labelled findings that nothing learned from", _HELD_OUT: "the product's own test photos"}

Log = Callable[[str], None]


@dataclass(frozen=True)
class RetrainRequest:
    """What to train again.

    Attributes:
        target: The run that the line's bundle comes from, or that bundle in it.
        database: Records of the line.
        root: Folder of the new run.
        chosen: Findings of which time and source.
        method: Another method than the run's; empty for the same.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        workers: Processes that simulate defects, for a method that learns from them.
        seconds: Time to measure the latency of each bundle for.
        bundles: Starts of the hashes of other bundles of the product, whose findings count too.
    """

    target: Path
    database: Path
    root: Path
    chosen: RecordFilter = field(default_factory=RecordFilter)
    method: str = ""
    device: str = "auto"
    workers: int = 0
    seconds: float = 2.0
    bundles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """A new bundle beside the old one.

    Attributes:
        old: Folder of the old bundle.
        new: Folder of the new one.
        precision: What both were compared in.
        findings: How many findings were learned from and compared on.
        comparisons: Name of the photos → old and new on them, in this order.
        page: The page that shows it all.
    """

    old: Path
    new: Path
    precision: Precision
    findings: dict[str, int]
    comparisons: dict[str, Comparison]
    page: Path

    @property
    def worse(self) -> list[str]:
        """In what the new one is worse, in words; empty where it is in nothing."""
        found = []
        for name, comparison in self.comparisons.items():
            old, new = comparison.candidates
            alarms, misses = (
                (one.counted(is_defective=False) or (0, 0), one.counted(is_defective=True) or (0, 0))
                for one in (old, new)
            )
            if misses[0][0] > alarms[0][0]:
                found.append(f"{misses[0][0]} false alarms in place of {alarms[0][0]} on {_WORDS[name]}")
            if misses[1][0] < alarms[1][0]:
                found.append(f"{misses[1][0]} defects found in place of {alarms[1][0]} on {_WORDS[name]}")
        return found

    def to_json(self) -> dict[str, Any]:
        """Everything, as values that JSON can hold."""
        return {
            "old": {"bundle": str(self.old), "manifest_sha256": sha256_file(self.old / "manifest.json")},
            "new": {"bundle": str(self.new), "manifest_sha256": sha256_file(self.new / "manifest.json")},
            "precision": self.precision,
            "findings": self.findings,
            "worse": self.worse,
            "comparisons": {name: comparison.to_json() for name, comparison in self.comparisons.items()},
            "page": str(self.page),
        }


def propose(
    request: RetrainRequest, *, listen: Callable[[EpochReport], None], log: Log = lambda text: None
) -> Proposal:
    """Train a run again, with the threshold set anew, and compare both on photos that neither has seen.

    Args:
        request: What to train.
        listen: Called after each epoch.
        log: Told about each step.

    Raises:
        UsageError: Neither a run nor a run's bundle, or the new run exists.
        DataError: Nothing is labelled, or the photos cannot be used.
        StorageError: The new run cannot be written.
    """
    if request.root.exists() and any(request.root.iterdir()):
        raise UsageError(f"{request.root} is there already.", "Give another --name.")
    old = load_run(run_of(request.target))
    method = method_class(request.method or old.method)
    lineage = Lineage.of(old)
    found = own_findings(read_findings(request.database, request.chosen), lineage, request.bundles, log)
    found = without_test_photos(found, _test_photos(old), old.split.photos.significant_bits, log)
    fresh = not_learned(found, lineage.photos, learned_defects(old.root))
    findings = Findings.split(fresh, learns_from_defects=method.learns_from_defects)
    log(_split_words(findings))
    if not findings.learned:
        raise DataError(
            f"There is nothing that {method.method} can learn from: it learns from good parts, and all are defects.",
            "Label false alarms, or learn from defects: --method supersimplenet.",
        )
    try:
        new = _trained(request, old, findings, method.method, listen)
    except BaseException:
        if not (request.root / "run.json").exists():  # nothing that could be resumed
            shutil.rmtree(request.root, ignore_errors=True)
        raise
    bundles, precision = _bundles(old, new, log)
    comparisons = _compared(bundles, precision, findings, request, old, log)
    proposal = Proposal(*bundles, precision, findings.counts(), comparisons, request.root / "proposal" / "index.html")
    _write(proposal, request, old, method.method)
    return proposal


def _split_words(findings: Findings) -> str:
    counts = findings.counts()
    return (
        f"Labelled findings: {counts['learned_good']} good and {counts['learned_defect']} defective to learn from, "
        f"{counts['compared_good']} and {counts['compared_defect']} later ones to compare on."
    )


def _trained(
    request: RetrainRequest, old: Run, findings: Findings, method: str, listen: Callable[[EpochReport], None]
) -> Run:
    learns = method_class(method).learns_from_defects
    earlier = earlier_defects(old) if learns else []
    learned = write_findings(request.root / _FINDINGS / "learned", [*findings.learned, *earlier])
    again = training_request(
        old, read_record(old.root), request.root, learned,
        method=method, device=request.device, workers=request.workers,
    )  # fmt: skip
    return load_run(train(again, listen))


def _bundles(old: Run, new: Run, log: Log) -> tuple[tuple[Path, Path], Precision]:
    """The bundles of both, the new one with the graphs of the old one, and INT8 where both have it, else FP32."""
    there = (old.root / "bundle" / "manifest.json").is_file()
    old_bundle = Bundle.open(old.root / "bundle") if there else is_current(old) or export_run(old, log)
    wanted: tuple[Precision, ...] = tuple(old_bundle.manifest.graphs)
    try:
        build_engines(new.root, precisions=wanted, log=log)
    except QualityGateError as error:
        log(f"{error.message} The new bundle has FP32 alone.")
        build_engines(new.root, precisions=("fp32",), log=log)
    graphs = Bundle.open(new.root / "bundle").manifest.graphs
    both: Precision = "int8" if "int8" in graphs and "int8" in wanted else "fp32"
    return (old_bundle.root, new.root / "bundle"), both


def _compared(
    bundles: tuple[Path, Path], precision: Precision, findings: Findings, request: RetrainRequest, old: Run, log: Log
) -> dict[str, Comparison]:
    found: dict[str, Comparison] = {}
    settings: dict[str, Any] = {"precision": precision, "seconds": request.seconds, "log": log}
    if findings.compared:
        root = write_findings(request.root / _FINDINGS / "compared" / old.product_name, findings.compared)
        good, defects = (tuple(path for path in (root / name,) if path.is_dir()) for name in ("good", "defect"))
        masks = root / "masks" if (root / "masks").is_dir() else None
        found[_FINDINGS] = compare_targets(bundles, None, Folders(good, defects, masks), **settings)
    else:
        log("Too few findings to keep some to compare on.")
    if _test_photos(old):
        data = None if old.folders.good else old.product_root
        found[_HELD_OUT] = compare_targets(bundles, data, old.folders, skip_unreadable=True, **settings)
    else:
        log(f"{old.product_name} has no test photos of its own to compare on.")
    for name, comparison in found.items():
        write_comparison(request.root / "proposal" / name, comparison)
    return found


def _test_photos(run: Run) -> list[Path]:
    try:
        data = None if run.folders.good else run.product_root
        product = open_product(data, run.folders, part="test", skip_unreadable=True)
    except DataError:
        return []
    return [sample.path for sample in product.test]


def _write(proposal: Proposal, request: RetrainRequest, old: Run, method: str) -> None:
    document = {
        **proposal.to_json(),
        "run": str(old.root.resolve()),
        "database": str(request.database.resolve()),
        "method": method,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    folder = proposal.page.parent
    write_file(folder / "proposal.json", f"{to_json(document, indent=2)}\n".encode())
    write_file(proposal.page, render_proposal(json.loads(to_json(document)), _WORDS).encode())
