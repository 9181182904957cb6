"""Videos that are damaged or cut off: no frame that damage has spread to is given, and what is missing is said."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.sources import Source, SourceOptions, source_from_uri
from edge_ad.streaming.sources.damage_filter import DamageFilter
from tests.streaming.fakes import FakeEngine, ListSink

_FRAMES, _KEY_EVERY, _SIZE_HW = 60, 15, (96, 160)
_TEXTURE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (96, 400, 3), np.uint8), (0, 0), 2)

Damage = Callable[[bytes, random.Random], bytes]


def _write(path: Path, codec: str = "libx264", begins_at: int = 0, **options: str) -> bytes:
    """A texture that moves by two pixels a frame; the first is shown that many frames after zero."""
    container_options = {"movflags": options.pop("movflags")} if "movflags" in options else {}
    with av.open(str(path), "w", options=container_options) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = _SIZE_HW
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.gop_size = _KEY_EVERY
        for number in range(_FRAMES):
            image = np.ascontiguousarray(_TEXTURE[:, 2 * number : 2 * number + 160])
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts = begins_at + number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


def _all(source: Source) -> list[NDArray[np.uint8]]:
    frames = []
    with source:
        while (image := source.read()) is not None:
            frames.append(image)
    return frames


def _without_packets(content: bytes, rng: random.Random) -> bytes:
    """A transport stream that lost some of its packets of 188 bytes."""
    packets = [content[at : at + 188] for at in range(0, len(content), 188)]
    lost = {rng.randrange(len(packets) // 3, 2 * len(packets) // 3) for _ in range(3)}
    return b"".join(packet for number, packet in enumerate(packets) if number not in lost)


def _zeroed(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) // 3, len(content) // 2)
    return content[:at] + bytes(200) + content[at + 200 :]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    ("name", "options", "damage"),
    [
        ("a.mp4", {}, _zeroed),
        ("a.mp4", {"bf": "0"}, _zeroed),
        ("a.mkv", {}, _zeroed),
        ("a.ts", {}, _without_packets),
        ("a.ts", {"bf": "0"}, _without_packets),
    ],
)
def test_every_frame_that_is_given_is_as_it_was_recorded(
    tmp_path: Path, name: str, options: dict[str, str], damage: Damage, seed: int
) -> None:
    path = tmp_path / name
    content = _write(path, **options)
    recorded = _all(source_from_uri(str(path)))
    assert len(recorded) == _FRAMES
    path.write_bytes(damage(content, random.Random(seed)))
    source = source_from_uri(str(path))
    given = _all(source)
    # What was lost of a transport stream may be one of its tables.
    assert source.corrupt > 0 or len(given) == _FRAMES
    assert len(given) >= _KEY_EVERY
    assert len(given) + source.corrupt <= _FRAMES
    for image in given:
        assert min(int(cv2.norm(image, other, cv2.NORM_INF)) for other in recorded) == 0


def test_damage_ends_at_the_next_key_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    content = _write(path, bf="0")
    recorded = _all(source_from_uri(str(path)))
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    at = packets[20].pos
    path.write_bytes(content[: at + 20] + bytes(packets[20].size - 20) + content[at + packets[20].size :])
    source = source_from_uri(str(path))
    given = _all(source)
    assert source.corrupt == 30 - 20
    assert [
        int(cv2.norm(a, b, cv2.NORM_INF)) for a, b in zip(given, [*recorded[:20], *recorded[30:]], strict=True)
    ] == ([0] * 50)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("a.mp4", {"movflags": "+faststart"}, "of the 60 frames that it announces"),
        ("a.mkv", {}, "of the 2.4 s that it announces"),
        ("a.avi", {}, "of the 60 frames that it announces"),
        ("a.flv", {}, "of the 2.4 s that it announces"),
        ("a.flv", {"bf": "0"}, "of the 2.4 s that it announces"),
    ],
)
def test_a_file_that_is_cut_off_is_judged_as_far_as_it_goes_and_told_of(
    tmp_path: Path, name: str, options: dict[str, str], said: str
) -> None:
    path = tmp_path / name
    content = _write(path, **options)
    path.write_bytes(content[: len(content) // 2])
    source, sink = source_from_uri(str(path)), ListSink()
    with FakeEngine() as engine:
        summary = run_stream(engine, source, threshold=1.0, sinks=[sink])
    assert 0 < summary.frames < _FRAMES
    assert said in source.shortage
    assert [event.text for event in sink.events if event.kind == "cut off"] == [f"The file {source.shortage}."]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.flv"])
def test_a_video_is_started_at_the_frame_that_is_shown_then(tmp_path: Path, name: str) -> None:
    _write(tmp_path / name)
    source = source_from_uri(str(tmp_path / name), SourceOptions(start_s=1.0))
    assert (len(_all(source)), source.shortage, source.corrupt) == (35, "", 0)


@pytest.mark.parametrize(
    ("name", "begins_at"), [("a.mp4", 0), ("a.mkv", 0), ("a.avi", 0), ("a.ts", 0), ("a.flv", 0), ("a.mkv", 50)]
)
def test_nothing_is_missing_in_a_whole_file(tmp_path: Path, name: str, begins_at: int) -> None:
    _write(tmp_path / name, begins_at=begins_at)
    source = source_from_uri(str(tmp_path / name))
    assert (len(_all(source)), source.shortage, source.corrupt) == (60, "", 0)


@pytest.mark.parametrize("name", ["a.mkv", "a.flv"])
def test_a_file_that_lacks_its_last_frames_is_told_of(tmp_path: Path, name: str) -> None:
    content = _write(tmp_path / name, bf="2")
    with av.open(str(tmp_path / name)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    (tmp_path / name).write_bytes(content[: packets[-3].pos])
    source = source_from_uri(str(tmp_path / name))
    assert len(_all(source)) < 60
    assert "of the 2.4 s that it announces" in source.shortage


def test_a_file_whose_index_was_never_written_is_refused(tmp_path: Path) -> None:
    content = _write(tmp_path / "a.mp4")
    (tmp_path / "a.mp4").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="Not a video that can be decoded"):
        source_from_uri(str(tmp_path / "a.mp4")).open()


def test_a_cut_picture_of_a_motion_jpeg_file_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    content = _write(path, "mjpeg")
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    start = content.index(bytes(packets[20]))
    middle, end = start + packets[20].size // 2, start + packets[20].size
    path.write_bytes(content[:middle] + bytes(end - middle) + content[end:])
    source = source_from_uri(str(path))
    assert (len(_all(source)), source.corrupt) == (59, 1)


def test_pixels_are_those_that_opencv_gives(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    _write(path)
    capture = cv2.VideoCapture(str(path))
    for image in _all(source_from_uri(str(path))):
        np.testing.assert_array_equal(image, capture.read()[1])


_Fed = list[tuple[int, bool, bool]]  # shown at, key frame, corrupt; in the order of decoding


def _given(fed: _Fed) -> tuple[list[int], int]:
    """What comes through when frames come out of the decoder in the order in which they are shown."""
    damage, given, ready = DamageFilter[int](), [], dict[int, tuple[bool, bool]]()
    shown = iter(sorted(at for at, _, _ in fed))
    due = next(shown)
    for at, is_key, is_corrupt in fed:
        damage.feed(at, is_corrupt=False)
        ready[at] = (is_key, is_corrupt)
        while due in ready:
            key, corrupt = ready[due]
            damage.add(due, due, is_key=key, is_corrupt=corrupt)
            given += damage.whole()
            due = next(shown, -1)
    return given + list(damage.whole(is_end=True)), damage.corrupt


def test_damage_reaches_frames_that_are_shown_before_it() -> None:
    # I0 P4 B1 B2 B3 P8 B5 B6 B7 I12: P4 is damaged, and 1 to 3 are decoded from it.
    fed = [(0, True, False), (4, False, True), (1, False, False), (2, False, False), (3, False, False)]
    fed += [(8, False, False), (5, False, False), (12, True, False), (13, False, False)]
    assert _given(fed) == ([0, 12, 13], 6)


def test_frames_before_an_open_key_frame_are_decoded_from_what_was_damaged() -> None:
    # P2 damaged; I8 is a key frame, but 6 and 7 are shown before it and need both.
    fed = [(0, True, False), (2, False, True), (8, True, False), (6, False, False), (7, False, False)]
    fed += [(9, False, False)]
    assert _given(fed) == ([0, 8, 9], 3)


def test_a_damaged_key_frame_does_not_mend() -> None:
    fed = [(0, True, False), (1, True, True), (2, False, False), (3, True, False)]
    assert _given(fed) == ([0, 3], 2)
