"""The verdicts of a stream held against the truth about the line: false alarms and defects found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_ad.data.sample_product import Shown
from edge_ad.errors import DataError
from edge_ad.manifest import Threshold
from edge_ad.storage import write_file
from edge_ad.streaming.records.csv_text import csv_lines

__all__ = ["CalledNg", "LineVerdicts", "compare_with_truth", "read_verdicts", "write_truth"]

_TRUTH_COLUMNS = ("part", "first_frame", "last_frame", "kind", "x", "y", "width", "height", "frames")


@dataclass(frozen=True)
class CalledNg:
    """How many of something were called NG.

    Attributes:
        ng: That many.
        total: Of so many.
        share: ``ng / total``, in [0, 1]; None of nothing.
    """

    ng: int
    total: int
    share: float | None

    @classmethod
    def of(cls, verdicts: Sequence[bool]) -> CalledNg:
        """Count verdicts; True is NG."""
        ng, total = sum(verdicts), len(verdicts)
        return cls(ng, total, ng / total if total else None)

    def __str__(self) -> str:
        return f"{self.ng} of {self.total}" + ("" if self.share is None else f" ({self.share:.1%})")


@dataclass(frozen=True)
class LineVerdicts:
    """What an engine said about the line, by what is true.

    A part is called NG when more than half of its frames are.

    Attributes:
        engine: Backend and precision.
        good_frames: Frames of good parts: each NG is a false alarm.
        defective_frames: Frames of defective parts; every one of them shows the whole defect.
        good_parts: Good parts.
        defective_parts: Defective parts: each NG is a defect found.
        threshold_rule: How the engine's threshold was set, and what false-alarm rate that promises.
    """

    engine: str
    good_frames: CalledNg
    defective_frames: CalledNg
    good_parts: CalledNg
    defective_parts: CalledNg
    threshold_rule: str


def compare_with_truth(
    engine: str, threshold: Threshold, truth: Sequence[Shown], verdicts: Mapping[int, bool]
) -> LineVerdicts:
    """Count the verdicts of a stream by what is true.

    Args:
        engine: What judged, in words.
        threshold: Its threshold.
        truth: What the video shows.
        verdicts: Frame → whether it was called NG.

    Raises:
        DataError: The verdicts are not one for each frame of the video.
    """
    _check_frames(truth, verdicts)
    frames, parts = ({is_defective: list[bool]() for is_defective in (False, True)} for _ in range(2))
    for shown in truth:
        called = [verdicts[frame] for frame in shown.frames]
        frames[shown.is_defective] += called
        parts[shown.is_defective].append(2 * sum(called) > len(called))
    return LineVerdicts(
        engine,
        good_frames=CalledNg.of(frames[False]),
        defective_frames=CalledNg.of(frames[True]),
        good_parts=CalledNg.of(parts[False]),
        defective_parts=CalledNg.of(parts[True]),
        threshold_rule=threshold.rule,
    )


def read_verdicts(path: Path) -> dict[int, bool]:
    """Frame → whether it was called NG, from the JSON lines that a stream recorded.

    Raises:
        DataError: A frame with two verdicts, or with one that is neither OK nor NG.
    """
    verdicts: dict[int, bool] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        frame, verdict = int(record["frame"]), record["verdict"]
        if frame in verdicts or verdict not in ("OK", "NG"):
            raise DataError(f"{path} has no single verdict for frame {frame}.", "Stream the line again.")
        verdicts[frame] = verdict == "NG"
    return verdicts


def write_truth(path: Path, truth: Sequence[Shown], verdicts: Mapping[str, Mapping[int, bool]]) -> None:
    """Write a line of CSV for each part: its frames, what is wrong where, and how many frames each engine called NG.

    Args:
        path: The file; replaced.
        truth: What the video shows.
        verdicts: Name of an engine's column → frame → whether it was called NG.

    Raises:
        StorageError: It cannot be written.
    """
    rows = [_row(part, shown, verdicts) for part, shown in enumerate(truth)]
    write_file(path, csv_lines(rows, (*_TRUTH_COLUMNS, *verdicts), has_header=True).encode())


def _row(part: int, shown: Shown, verdicts: Mapping[str, Mapping[int, bool]]) -> dict[str, object]:
    box = shown.defect_xywh or (None,) * 4
    counts = {name: sum(called[frame] for frame in shown.frames) for name, called in verdicts.items()}
    values = (part, shown.first_frame, shown.last_frame, shown.kind, *box, len(shown.frames))
    return {**dict(zip(_TRUTH_COLUMNS, values, strict=True)), **counts}


def _check_frames(truth: Sequence[Shown], verdicts: Mapping[int, bool]) -> None:
    shown = [frame for part in truth for frame in part.frames]
    missing = len(set(shown) - set(verdicts))
    unknown = len(set(verdicts) - set(shown))
    if missing or unknown:
        raise DataError(
            f"{missing} of {len(shown)} frames of the line have no verdict, {unknown} verdicts belong to none of them.",
            "The stream did not judge the whole video: run it again.",
        )
