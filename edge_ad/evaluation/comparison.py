"""Detectors side by side on the same test photos: what each finds, costs, and where they disagree."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from edge_ad.data.samples import Product
from edge_ad.errors import DataError, UsageError
from edge_ad.evaluation.evaluate import LoadedPredictor, Progress, evaluate_loaded
from edge_ad.evaluation.results import Evaluation
from edge_ad.images import read_image
from edge_ad.runtime.timing import measure

__all__ = [
    "COUNT_AS_DEFECTIVE",
    "Candidate",
    "Comparison",
    "Disagreement",
    "compare",
    "folder_bytes",
    "measured_candidate",
    "read_documents",
]

_METRICS = ("image_auroc", "pixel_auroc", "pro")
_TIMED_PHOTOS = 16


COUNT_AS_DEFECTIVE = "count as called defective, and are in no other figure"
"""What becomes of test photos that could not be judged where detectors are compared."""


class _Unjudged(BaseModel):
    model_config = ConfigDict(extra="ignore")
    path: str
    defect_type: str
    is_defective: bool


class _Sample(_Unjudged):
    score: float | None
    is_called_defective: bool | None = None


class _Threshold(BaseModel):
    model_config = ConfigDict(extra="ignore")
    value: float


class _Decisions(BaseModel):
    model_config = ConfigDict(extra="ignore")
    threshold: _Threshold


class _EvaluationDocument(BaseModel):
    """What is taken of ``edge-ad evaluate --json``."""

    model_config = ConfigDict(extra="ignore")
    product: str
    engine: str = ""
    metrics: dict[str, float]
    samples: list[_Sample]
    unjudged: list[_Unjudged] = []
    decisions: _Decisions | None = None


@dataclass(frozen=True)
class Candidate:
    """One detector of a comparison.

    Attributes:
        name: What it is called.
        engine: What ran.
        product: Name of the product that it was measured on.
        metrics: ``image_auroc``, ``pixel_auroc``, ``pro``, as far as they are defined.
        called: Test photo → whether it was called defective, or could not be judged and so does not pass; empty without
            a threshold.
        labels: Test photo → its defect type, empty for a good one.
        latency_ms: Median time of a verdict from a decoded photo; None where it was not measured.
        size_bytes: Of its folder without engines; None where it is not known.
        scores: Test photo → its raw score, as far as it is finite.
        threshold: Score above which a photo is called defective; None without one.
        evaluation: What was measured, with the maps; None for a saved document.
    """

    name: str
    engine: str
    product: str
    metrics: Mapping[str, float]
    called: Mapping[str, bool]
    labels: Mapping[str, str]
    latency_ms: float | None = None
    size_bytes: int | None = None
    scores: Mapping[str, float] = field(default_factory=dict, repr=False)
    threshold: float | None = None
    evaluation: Evaluation | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of_document(cls, name: str, document: object) -> Candidate:
        """From what ``edge-ad evaluate --json`` printed.

        Raises:
            DataError: It is another document.
        """
        try:
            read = _EvaluationDocument.model_validate(document)
        except ValidationError as error:
            raise DataError(f"{name} is not what edge-ad evaluate --json prints.", "Save it again.") from error
        called = {sample.path: sample.is_called_defective for sample in read.samples}
        if any(value is not None for value in called.values()):
            called |= {sample.path: True for sample in read.unjudged}
        samples: list[_Unjudged] = [*read.samples, *read.unjudged]
        return cls(
            name,
            read.engine,
            read.product,
            {key: read.metrics[key] for key in _METRICS if key in read.metrics},
            {path: value for path, value in called.items() if value is not None},
            {sample.path: sample.defect_type if sample.is_defective else "" for sample in samples},
            scores={sample.path: sample.score for sample in read.samples if sample.score is not None},
            threshold=None if read.decisions is None else read.decisions.threshold.value,
        )

    def counted(self, *, is_defective: bool) -> tuple[int, int] | None:
        """How many good (or defective) photos were called defective, and of how many; None without a threshold."""
        chosen = [path for path, defect in self.labels.items() if bool(defect) == is_defective]
        if not self.called or not chosen:
            return None
        return sum(self.called[path] for path in chosen), len(chosen)


@dataclass(frozen=True)
class Disagreement:
    """A test photo that not all call the same.

    Attributes:
        path: The photo.
        defect_type: Its defect; empty for a good one.
        called_by: Names of those that call it defective.
    """

    path: str
    defect_type: str
    called_by: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Detectors on the same test photos.

    Attributes:
        candidates: The detectors.
        disagreements: Photos that not all of those with a threshold call the same, by path.
    """

    candidates: tuple[Candidate, ...]
    disagreements: tuple[Disagreement, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Everything, as values that JSON can hold."""
        return {
            "candidates": [
                {
                    "name": item.name,
                    "engine": item.engine,
                    "product": item.product,
                    **{key: item.metrics.get(key) for key in _METRICS},
                    "false_alarms": item.counted(is_defective=False),
                    "detections": item.counted(is_defective=True),
                    "latency_ms": item.latency_ms,
                    "size_bytes": item.size_bytes,
                }
                for item in self.candidates
            ],
            "disagreements": [vars(item) for item in self.disagreements],
        }


def measured_candidate(
    name: str,
    predictor: LoadedPredictor,
    product: Product,
    *,
    trained_on: Collection[str] = (),
    seconds: float = 2.0,
    progress: Progress | None = None,
) -> Candidate:
    """Measure a detector on the test photos of a product.

    Args:
        name: What it is called.
        predictor: The opened run or bundle.
        product: Its test photos.
        trained_on: Content hashes of the photos that were trained on.
        seconds: Time to measure its latency for.
        progress: Told after every batch.

    Raises:
        DataError: As `evaluate`.
        EdgeAdError: As `evaluate`.
    """
    evaluation = evaluate_loaded(predictor, product, trained_on=trained_on, progress=progress)
    latency_ms = _latency_ms(predictor, [sample.path for sample in product.test[:_TIMED_PHOTOS]], seconds)
    return replace(Candidate.of_document(name, evaluation.to_json()), latency_ms=latency_ms, evaluation=evaluation)


def _latency_ms(predictor: LoadedPredictor, paths: Sequence[Path], seconds: float) -> float:
    photos = predictor.photos
    frames = cycle([read_image(path, photos.significant_bits) for path in paths])
    judged = measure(
        lambda: predictor.predict(photos.prepare(next(frames), predictor.size_hw).image[None]), min_seconds=seconds
    )
    return judged.p50_ms


def compare(candidates: Sequence[Candidate]) -> Comparison:
    """Put detectors side by side.

    Raises:
        UsageError: Fewer than two.
        DataError: They were not measured on the same test photos of one product.
    """
    if len(candidates) < 2:
        raise UsageError("There is nothing to compare with.", "Name two or more runs, bundles or saved documents.")
    first = candidates[0]
    for other in candidates[1:]:
        if other.product != first.product:
            raise DataError(
                f"{other.name} was measured on {other.product}, {first.name} on {first.product}.",
                "Measure both on the same --data.",
            )
        if other.labels != first.labels:
            raise DataError(
                f"{other.name} was measured on other test photos than {first.name}.", "Measure both on the same --data."
            )
    judging = [item for item in candidates if item.called]
    found = []
    for path, defect in sorted(first.labels.items()):
        called_by = tuple(item.name for item in judging if item.called[path])
        if 0 < len(called_by) < len(judging):
            found.append(Disagreement(path, defect, called_by))
    return Comparison(tuple(candidates), tuple(found))


def folder_bytes(root: Path) -> int:
    """Bytes of the files of a bundle or run, without the engines of single machines."""
    files = (path for path in root.rglob("*") if path.is_file() and "engines" not in path.relative_to(root).parts)
    return sum(path.stat().st_size for path in files)


def read_documents(documents: Sequence[tuple[str, object]]) -> list[Candidate]:
    """Candidates of saved documents; a ``benchmark --json`` gives its latency to the evaluation named before it.

    Args:
        documents: Name and content of each, in the order they were named.

    Raises:
        DataError: One of them is something else, or a benchmark comes first.
    """
    found: list[Candidate] = []
    for name, document in documents:
        latency = _latency(document)
        if latency is None:
            found.append(Candidate.of_document(name, document))
        elif not found:
            raise DataError(f"{name} is of a benchmark, with no evaluation before it.", "Name the evaluation first.")
        else:
            found[-1] = replace(found[-1], latency_ms=latency)
    return found


def _latency(document: object) -> float | None:
    """Median end to end of ``edge-ad benchmark --json``, in ms; None for another document."""
    if not isinstance(document, Mapping) or not isinstance(document.get("measurements"), Mapping):
        return None
    stats = document["measurements"].get("end_to_end")
    value = stats.get("p50_ms") if isinstance(stats, Mapping) else None
    return float(value) if isinstance(value, (int, float)) else None
