"""The demo's line compressed again: truth as the demo wrote it, and as many frames as before."""

from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks.demo_codecs import Part, compress, read_truth
from edge_ad.data.sample_product import Shown
from edge_ad.demo import write_truth


def test_truth_is_read_as_the_demo_writes_it(tmp_path: Path) -> None:
    shown = [Shown(0, 2, "good"), Shown(3, 5, "scratch", (1, 2, 3, 4))]
    write_truth(tmp_path / "truth.csv", shown, {})
    assert read_truth(tmp_path / "truth.csv") == [Part(range(3), False), Part(range(3, 6), True)]


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_copy_has_every_frame_of_the_video(tmp_path: Path, codec: str) -> None:
    with av.open(str(tmp_path / "line.mp4"), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for level in range(5):
            frame = np.full((64, 64, 3), 40 * level, np.uint8)
            target.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        target.mux(stream.encode())
    copy = compress(tmp_path / "line.mp4", tmp_path / "copy.mp4", codec, 28)
    with av.open(str(copy)) as again:
        levels = [frame.to_ndarray(format="bgr24").mean() for frame in again.decode(video=0)]
    assert levels == pytest.approx([0, 40, 80, 120, 160], abs=15)  # two conversions of colours, two encodings
