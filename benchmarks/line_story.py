"""A shift with a new harmless variation: its false alarms are labelled, and a detector that knows it is swapped in.

    python -m benchmarks.line_story --out DIR [--parts 2000] [--method patch-gaussian] [--record line_story.jsonl]

The line makes the demo's rendered flange. After a fifth of the shift a supplier begins to set a dot of blue ink on good
and defective parts alike. An operator labels the first false alarms, and the first defects with kind and place; then
``edge-ad retrain`` proposes a bundle from the records. The last two fifths of the shift are judged by the old bundle,
by the new one, and by a stream that swaps one for the other while it runs. Every part is rendered once, and but for the
labelled ones none is learned from. Afterwards: ``python -m benchmarks.line_story_markdown``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.suites.record import append_row
from edge_ad.data.sample_product import LinePart, render_parts, render_product
from edge_ad.export.build import build_engines
from edge_ad.retraining.proposal import Proposal, RetrainRequest, propose
from edge_ad.streaming.bundle_opening import open_bundle
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Event, Result
from edge_ad.streaming.hot_swap import BundleSwapper
from edge_ad.streaming.records.brush import Stroke
from edge_ad.streaming.records.corrections import CorrectionStore
from edge_ad.streaming.records.labelling import JudgedFrame, label_frame
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.sinks import DatabaseSink
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sources import source_from_uri
from edge_ad.training.request import TrainingRequest
from edge_ad.training.train import train

OPERATOR, ENGINEER = "Ada (operator)", "Grace (engineer)"
_BRUSH_POINTS = 20


@dataclass(frozen=True)
class Scale:
    """How large the story is.

    Attributes:
        good: Photos to train on.
        parts: Of the shift.
        defective: Share of them with a defect.
        false_alarms: Labelled at most.
        defects: Labelled at most.
        size: Side of the photos, in pixels.
        values: Parameters of the method.
    """

    good: int = 240
    parts: int = 2000
    defective: float = 0.03
    false_alarms: int = 60
    defects: int = 12
    size: int = 256
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Counts:
    """Verdicts against the truth.

    Attributes:
        good: Good parts.
        false_alarms: How many of them were called NG.
        defective: Defective parts.
        missed: How many of them were called OK.
    """

    good: int = 0
    false_alarms: int = 0
    defective: int = 0
    missed: int = 0

    def add(self, *, is_defective: bool, is_ng: bool) -> None:
        """Count a verdict."""
        self.good += not is_defective
        self.false_alarms += is_ng and not is_defective
        self.defective += is_defective
        self.missed += is_defective and not is_ng


class Operator(Sink):
    """Counts verdicts by the bundle that gave them, and labels the first findings, as a person at the page does.

    Args:
        parts: The truth.
        store: Where labelled frames go; None labels nothing.
        scale: How many are labelled.
    """

    delivery = "inline"

    def __init__(
        self, parts: Sequence[LinePart], store: CorrectionStore | None = None, scale: Scale | None = None
    ) -> None:
        self.counts: dict[str, Counts] = {}
        self.events: list[Event] = []
        self._parts = {part.photo.name: part for part in parts}
        self._store, self._scale = store, scale or Scale()
        self._labelled = {"good": 0, "defect": 0}
        self._control: StreamControl | None = None

    def attach(self, control: StreamControl) -> None:
        """Events go there."""
        self._control = control

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Count, and label what was NG."""
        part, is_ng = self._parts[Path(result.frame.path).name], result.verdict.is_anomalous
        self.counts.setdefault(result.bundle, Counts()).add(is_defective=part.is_defective, is_ng=is_ng)
        if is_ng and self._store is not None:
            self._label(self._store, result, part)

    def event(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)

    def close(self) -> None:
        """Nothing is left to do."""

    def _label(self, store: CorrectionStore, result: Result, part: LinePart) -> None:
        label = "defect" if part.is_defective else "good"
        most = self._scale.defects if part.is_defective else self._scale.false_alarms
        if self._labelled[label] >= most:
            return
        self._labelled[label] += 1
        place = () if part.mask is None else brushed(part.mask)
        kind = part.kind.replace("_", "-") if part.is_defective else ""
        judged = JudgedFrame.of(result)
        _, event = label_frame(store, result.frame, judged, label=label, by=OPERATOR, kind=kind, place=place)  # type: ignore[arg-type]
        if event is not None and self._control is not None:
            self._control.emit(event)


class Engineer(Sink):
    """Asks for the new bundle after some parts."""

    delivery = "inline"

    def __init__(self, bundle: Path, after: int) -> None:
        self._bundle, self._left = bundle, after
        self._control: StreamControl | None = None

    def attach(self, control: StreamControl) -> None:
        """The bundle is asked for there."""
        self._control = control

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Count down."""
        self._left -= 1
        if self._left == 0 and self._control is not None:
            self._control.swap_bundle(self._bundle, by=ENGINEER)

    def close(self) -> None:
        """Nothing is left to do."""


def brushed(mask: Path) -> tuple[Stroke, ...]:
    """Dabs of a brush over a defect, as a hand sets them."""
    marked = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
    assert marked is not None
    rows, columns = np.nonzero(marked)
    chosen = np.linspace(0, len(rows) - 1, min(_BRUSH_POINTS, len(rows))).round().astype(int)
    height, width = marked.shape
    points = [(round(1000 * columns[i] / (width - 1)), round(1000 * rows[i] / (height - 1))) for i in chosen]
    return tuple(Stroke(12, (point,)) for point in points)


def judged(bundle: Path, folder: Path, sinks: Sequence[Sink], *, swaps: bool = False) -> None:
    """Stream a folder of parts with a bundle, which another one may replace."""
    with ExitStack() as stack:
        opened = open_bundle(bundle, precision="fp32")
        swapper = stack.enter_context(BundleSwapper(lambda path: open_bundle(path, precision="fp32"), opened))
        first = swapper.first
        control = StreamControl(first.threshold, first.bundle)
        run_stream(
            first.engine,
            source_from_uri(str(folder)),
            threshold=first.threshold,
            sinks=sinks,
            control=control,
            swapper=swapper if swaps else None,
        )


def trained(root: Path, method: str, scale: Scale) -> Path:
    """The run that the line begins with, and its bundle."""
    size_hw = (scale.size, scale.size)
    render_product(root / "flange", good=scale.good, size_hw=size_hw)
    run = root / "runs" / "flange"
    train(TrainingRequest(method, root / "flange", run, dict(scale.values)), lambda report: None)
    build_engines(run, precisions=("fp32",))
    return run


def told(root: Path, method: str, scale: Scale, *, swap: bool) -> tuple[list[dict[str, Any]], Proposal]:
    """Play the story.

    Args:
        root: New folder for everything.
        method: Of the detector.
        scale: How large.
        swap: Whether the last part is also judged by a stream that swaps the bundles.

    Returns:
        Rows of a phase, a bundle and its `Counts`; and the proposal.
    """
    run, size_hw, fifth = trained(root, method, scale), (scale.size, scale.size), scale.parts // 5
    lengths = {"as trained": fifth, "with the dot": 2 * fifth, "with the dot, later": 2 * fifth}
    shift, first = {}, 0
    for number, (phase, count) in enumerate(lengths.items()):
        folder, defective = root / f"shift-{number}", round(scale.defective * count)
        parts = render_parts(
            folder, count=count, defective=defective, first=first, has_dot=number > 0, size_hw=size_hw
        )  # fmt: skip
        shift[phase], first = (folder / "parts", parts), first + count
    store, database = CorrectionStore(root / "corrected"), root / "line.sqlite"
    rows: list[dict[str, Any]] = []
    for phase in list(shift)[:2]:
        folder, parts = shift[phase]
        operator = Operator(parts, store if phase == "with the dot" else None, scale)
        judged(run / "bundle", folder, [operator, DatabaseSink(database)])
        rows += [{"phase": phase, "bundle": "old", **asdict(counts)} for counts in operator.counts.values()]
    request = RetrainRequest(run, database, root / "runs" / "flange-2", seconds=0.2)
    proposal = propose(request, listen=lambda report: None)
    for phase in ("as trained", "with the dot, later"):
        for name, bundle in (("old", proposal.old), ("new", proposal.new)):
            if (phase, name) != ("as trained", "old"):
                folder, parts = shift[phase]
                operator = Operator(parts)
                judged(bundle, folder, [operator])
                rows += [{"phase": phase, "bundle": name, **asdict(counts)} for counts in operator.counts.values()]
    if swap:
        rows += _swapped(proposal, *shift["with the dot, later"], database)
    return [{"method": method, "labelled": proposal.findings, **row} for row in rows], proposal


def _swapped(proposal: Proposal, folder: Path, parts: Sequence[LinePart], database: Path) -> list[dict[str, Any]]:
    operator = Operator(parts)
    engineer = Engineer(proposal.new, len(parts) // 10)
    judged(proposal.old, folder, [operator, engineer, DatabaseSink(database)], swaps=True)
    kinds = [event.kind for event in operator.events]
    assert "bundle swapped" in kinds, kinds
    names = [f"swapped while running: {name}" for name in ("old", "new")]
    return [
        {"phase": "with the dot, later", "bundle": name, **asdict(counts)}
        for name, counts in zip(names, operator.counts.values(), strict=True)
    ]


def main(arguments: list[str] | None = None) -> None:
    """Play it, and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="new folder for everything")
    parser.add_argument("--parts", type=int, default=Scale.parts)
    parser.add_argument("--method", default="patch-gaussian")
    parser.add_argument("--record", type=Path)
    chosen = parser.parse_args(arguments)
    rows, proposal = told(chosen.out, chosen.method, Scale(parts=chosen.parts), swap=True)
    for row in rows:
        print(json.dumps(row), flush=True)
        if chosen.record is not None:
            append_row(chosen.record, row)
    print(f"look at: {proposal.page}")


if __name__ == "__main__":
    main()
