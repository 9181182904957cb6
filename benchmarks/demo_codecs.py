"""The demo's line, compressed again: false alarms of good frames, and parts found, at the bundle's threshold.

    edge-ad demo --out demo
    python -m benchmarks.demo_codecs demo [BUNDLE...]

Prints a line for each bundle and copy of the line: as it is, H.264 at crf 23 and 28, HEVC at crf 28; with how near the
good frame of the highest score comes to the threshold. Without bundles, that of the demo.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np

from edge_ad.detector import Detector, load

COPIES = (("libx264", 23), ("libx264", 28), ("libx265", 28))
_RATE = 25


@dataclass(frozen=True)
class Part:
    """A part of the line's truth: its frames, and whether it is defective."""

    frames: range
    is_defective: bool


def read_truth(path: Path) -> list[Part]:
    """Parts of ``truth.csv`` of a demo."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Part(range(int(row["first_frame"]), int(row["last_frame"]) + 1), bool(row["width"]))
            for row in csv.DictReader(file)
        ]


def compress(video: Path, copy: Path, codec: str, crf: int) -> Path:
    """Encode a video again.

    Args:
        video: The video.
        copy: The new file.
        codec: Name of FFmpeg's encoder.
        crf: Its constant rate factor; more is smaller and worse.
    """
    with av.open(str(video)) as source, av.open(str(copy), "w") as target:
        first = source.streams.video[0]
        stream = target.add_stream(codec, rate=_RATE, options={"crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
        for frame in source.decode(first):
            target.mux(stream.encode(av.VideoFrame.from_ndarray(frame.to_ndarray(format="bgr24"), format="bgr24")))
        target.mux(stream.encode())
    return copy


@dataclass(frozen=True)
class Counts:
    """What a detector says of a line.

    Attributes:
        alarms: Good frames called NG.
        good: Good frames.
        found: Defective parts of which more than half of the frames are called NG.
        defective: Defective parts.
        highest: Highest score of a good frame, as a multiple of the threshold.
    """

    alarms: int
    good: int
    found: int
    defective: int
    highest: float


def counts(detector: Detector, video: Path, truth: Sequence[Part]) -> Counts:
    """Judge a line and count by its truth."""
    results = {result.frame.index: result for result in detector.stream(video)}
    good = [results[frame] for part in truth if not part.is_defective for frame in part.frames]
    parts = [np.mean([results[frame].is_defective for frame in part.frames]) for part in truth if part.is_defective]
    return Counts(
        alarms=sum(result.is_defective for result in good),
        good=len(good),
        found=sum(bool(share > 0.5) for share in parts),
        defective=len(parts),
        highest=max(result.score for result in good) / detector.threshold,
    )


def rows(demo: Path, bundles: Sequence[Path]) -> Iterator[tuple[Path, str, Counts]]:
    """Bundle, copy in words, and `counts`."""
    truth = read_truth(demo / "truth.csv")
    with TemporaryDirectory() as folder:
        videos = {"as it is": demo / "line.mp4"}
        for codec, crf in COPIES:
            videos[f"{codec} crf {crf}"] = compress(demo / "line.mp4", Path(folder) / f"{codec}{crf}.mp4", codec, crf)
        for bundle in bundles:
            with load(bundle) as detector:
                for name, video in videos.items():
                    yield bundle, name, counts(detector, video, truth)


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="folder of edge-ad demo")
    parser.add_argument("bundles", type=Path, nargs="*", help="bundles or runs; by default that of the demo")
    given = parser.parse_args()
    bundles = given.bundles or [given.demo / "runs/sample"]
    for bundle, name, found in rows(given.demo, bundles):
        share = f"{found.alarms / found.good:.1%}, highest {found.highest:.2f} of the threshold"
        print(
            f"{bundle}  {name}: {found.alarms} of {found.good} good frames NG ({share}), "
            f"{found.found} of {found.defective} defects found"
        )


if __name__ == "__main__":
    main()
