"""Set the thresholds of a bundle again, on photos that somebody confirmed to be of good parts; never by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np
from numpy.typing import NDArray

from edge_ad.bundle import Bundle, set_thresholds
from edge_ad.bundle.bundle import AUDIT_FILE, SCENE_FILE
from edge_ad.bundle.documents import to_bytes
from edge_ad.errors import EdgeAdError
from edge_ad.evaluation.engine_threshold import GoodScores
from edge_ad.evaluation.good_photos import GoodPhotos
from edge_ad.evaluation.thresholds import measured_threshold
from edge_ad.manifest import Precision, Threshold
from edge_ad.outside_text import storable
from edge_ad.runtime.engines import opened_engine
from edge_ad.scene import SceneLimits, SceneMeasures, SceneReading, changes_in_words, measure_scene
from edge_ad.strict_json import to_json

__all__ = ["Recalibrated", "Scene", "apply", "apply_value", "compare_scene", "given_thresholds", "recalibrate"]

_MOST_NAMED = 5


@dataclass(frozen=True)
class Recalibrated:
    """One graph.

    Attributes:
        precision: Which.
        engine: What scored the photos, in words.
        old: Threshold of before.
        new: Threshold that these photos give.
        photos: How many there are.
        false_alarms_before: How many of them are above the old one.
        false_alarms_after: And above the new one, which was set on them: see ``new.false_alarm_bound``.
        highest: Name and score of those that score highest above the old threshold: a defect among them would move the
            new one.
    """

    precision: Precision
    engine: str
    old: Threshold
    new: Threshold
    photos: int
    false_alarms_before: int
    false_alarms_after: int
    highest: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Scene:
    """How the photos look against those that were trained on.

    Attributes:
        limits: Of these photos; None for too few.
        change: How they differ, in words; empty where they do not, or where the bundle does not say how it was.
    """

    limits: SceneLimits | None
    change: str


def recalibrate(
    bundle: Bundle,
    photos: GoodPhotos,
    *,
    false_alarm_rate: float | None = None,
    good: GoodScores | None = None,
    value: float | None = None,
    by: str = "",
    backend: str = "auto",
    threads: int = 0,
    log: Callable[[str], None] = lambda text: None,
) -> list[Recalibrated]:
    """Score photos by every graph of a bundle, each by its engine here; nothing is written.

    Args:
        bundle: The bundle.
        photos: Of good parts.
        false_alarm_rate: Share of good parts that may be called defective, in (0, 1); None for what each graph's
            threshold was asked for.
        good: Of the run that held the photos out, what sets the threshold beside their scores; it has the rate.
        value: The threshold itself, which the photos only measure; None for the one that they give.
        by: Who gave the value.
        backend: ``"auto"`` or a backend's name.
        threads: CPU threads; 0 lets the backend decide.
        log: Told about each graph.

    Raises:
        EdgeAdError: A graph of the bundle cannot run here: with thresholds of two kinds in it, none is set.
        MetricError: A score is not finite.
        UsageError: The rate is outside (0, 1).
    """
    found = []
    for precision, graph in bundle.manifest.graphs.items():
        log(f"Scoring {len(photos.images)} photos by the {precision} graph.")
        try:
            scores, engine = _scores(bundle, photos.images, backend, precision, threads)
        except EdgeAdError as error:
            message = f"The {precision} graph cannot score the photos here, so no threshold was set: {error.message}"
            raise type(error)(message, error.hint or "Run the command where the bundle is used.") from error
        old = graph.threshold
        rate = old.false_alarm_rate if false_alarm_rate is None else false_alarm_rate
        if value is not None:
            new = measured_threshold(value, scores, _given_by(by), false_alarm_rate=rate)
        else:
            new = (good or GoodScores(rate)).threshold(scores)
        before, after = (int((scores > threshold.value).sum()) for threshold in (old, new))
        highest = tuple((photos.paths[index].name, float(scores[index])) for index in np.argsort(-scores)[:_MOST_NAMED])
        above = tuple((name, score) for name, score in highest if score > old.value)
        found.append(Recalibrated(precision, engine, old, new, len(scores), before, after, above))
    return found


def compare_scene(bundle: Bundle, photos: GoodPhotos) -> Scene:
    """Measure how the photos look, against those that were trained on.

    Raises:
        BundleError: What the bundle says of its scene is damaged.
    """
    measured = [measure_scene(image) for image in photos.images]
    before = bundle.scene()
    if before is None:
        return Scene(SceneLimits.of(measured), "")
    middle = SceneReading(SceneMeasures(*np.median(np.array(measured), axis=0).tolist()), before)
    return Scene(SceneLimits.of(measured), changes_in_words(middle, middle.changed()))


def apply(
    bundle: Bundle,
    results: Sequence[Recalibrated],
    photos: GoodPhotos,
    *,
    by: str,
    origin: str,
    scene: SceneLimits | None = None,
) -> Bundle:
    """Write the new thresholds, into the graphs and their engines, with an audit entry; all of it or nothing.

    Args:
        bundle: The bundle.
        results: What `recalibrate` gave.
        photos: On which.
        by: Who did it.
        origin: Where the photos are from.
        scene: New limits of the scene; None leaves those of before.

    Raises:
        StorageError: No space or no permission; the bundle is as it was.
    """
    entry = {
        "time": _now(),
        "action": "set on photos",
        "by": storable(by),
        "from": storable(origin),
        "photos": len(photos.images),
        "photos_sha256": photos.sha256,
        "scene_set_again": scene is not None,
        "thresholds": {result.precision: _entry(result) for result in results},
    }
    files = _with_audit(bundle, entry)
    if scene is not None:
        files[SCENE_FILE] = to_bytes(scene)
    return set_thresholds(bundle, {result.precision: result.new for result in results}, files)


def given_thresholds(bundle: Bundle, value: float, *, by: str) -> dict[Precision, Threshold]:
    """A threshold that a person gives, for every graph; nothing is promised about false alarms.

    Args:
        bundle: The bundle.
        value: Raw score, finite.
        by: Who gave it.
    """
    rule = f"{_given_by(by)}; no photos, so nothing is promised about false alarms"
    change = {"value": value, "rule": rule, "false_alarm_bound": 1.0, "good_images": 0}
    return {name: graph.threshold.model_copy(update=change) for name, graph in bundle.manifest.graphs.items()}


def apply_value(bundle: Bundle, thresholds: Mapping[Precision, Threshold], *, by: str) -> Bundle:
    """Write what `given_thresholds` gave, with an audit entry; all of it or nothing.

    Raises:
        StorageError: No space or no permission; the bundle is as it was.
    """
    old = {precision: graph.threshold.model_dump() for precision, graph in bundle.manifest.graphs.items()}
    entry = {
        "time": _now(),
        "action": "set value",
        "by": storable(by),
        "thresholds": {name: {"old": old[name], "new": new.model_dump()} for name, new in thresholds.items()},
    }
    return set_thresholds(bundle, thresholds, _with_audit(bundle, entry))


def _with_audit(bundle: Bundle, entry: Mapping[str, object]) -> dict[str, bytes]:
    before = bundle.read_file(AUDIT_FILE) if AUDIT_FILE in bundle.manifest.files else b""
    return {AUDIT_FILE: before + f"{to_json(entry)}\n".encode()}


def _given_by(by: str) -> str:
    return f"given by {storable(by)} at {_now()}"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _entry(result: Recalibrated) -> dict[str, object]:
    return {
        "engine": result.engine,
        "old": result.old.model_dump(),
        "new": result.new.model_dump(),
        "false_alarms_before": result.false_alarms_before,
        "false_alarms_after": result.false_alarms_after,
    }


def _scores(
    bundle: Bundle, images: NDArray[np.uint8], backend: str, precision: Precision, threads: int
) -> tuple[NDArray[np.float64], str]:
    with opened_engine(bundle, backend=backend, precision=precision, threads=threads) as engine:
        description = engine.describe()
        predictions = list(engine.infer_many(image[np.newaxis] for image in images))
    return np.array([item.score for item in predictions], np.float64), f"{description.backend} {description.precision}"
