"""Pictures of defects: lossless, whole, named in the records, and removed oldest first."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_ad.errors import StorageError, UsageError
from edge_ad.images import read_image
from edge_ad.streaming.records.ng_images import NgImageStore, ng_image_name
from edge_ad.streaming.records.reader import RecordFilter, RecordReader
from edge_ad.streaming.sinks import DatabaseSink, NgImagesSink, ng_images_sink
from tests.streaming.fakes import FakeSource
from tests.streaming.results import CAPTURED_UNIX, IMAGE, Told, make_result

_DAY_S = 86400.0


def _name(unix: float, index: int = 0) -> str:
    return ng_image_name(make_result(index, unix=unix, source="line").frame)


def _left(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_names_sort_as_the_frames_were_captured_and_stay_inside_the_folder() -> None:
    names = [_name(CAPTURED_UNIX + 1800.5 * number, number) for number in range(100)]
    assert names == sorted(names)
    assert names[0] == "2023-11-14/22/221320.250000_line_0.png"
    hostile = make_result(source="rtsp://u:p@host/../../etc/passwd\0 ").frame
    assert re.fullmatch(r"2023-11-14/22/221320.250000_rtsp-host-..-..-etc-[0-9a-f]{8}_0.png", ng_image_name(hostile))


def test_the_picture_of_a_file_has_its_name_and_no_other_file_has_the_same() -> None:
    paths = ["/a/x.png", "/b/x.png", "/a/x.jpg", "/a/.x.png", "/a/ä.png", "/a/ö.png", "/a/../../etc/passwd", "/a/.."]
    paths += [f"/a/{'very-long' * 28}{end}.png" for end in "12"] + ["/a/\udcff.png", "/a/\udcfe.png", "/a/b\0c\n.png"]
    frames = [replace(make_result(source="/a").frame, path=path) for path in paths]
    names = [ng_image_name(frame) for frame in frames]
    assert len({name.lower() for name in names}) == len(names)  # also on a disk that knows no capitals
    assert re.fullmatch(r"2023-11-14/22/221320.250000_a-[0-9a-f]{8}_0_x-[0-9a-f]{8}.png", names[0])
    assert all(
        re.fullmatch(r"[0-9-]{10}/22/[0-9][A-Za-z0-9._-]{1,230}", name) for name in names
    )  # no folder, none hidden
    assert not any("/." in name or ".." in name.split("_")[-1] for name in names)


def test_two_sources_that_look_alike_in_a_name_have_two_names() -> None:
    sources = [
        "line a",
        "line-a",
        "line/a",
        "x" * 50,
        "y" + "x" * 50,
        "rtsp://h/live",
        "rtsp://h/live #2",
        "rtsp://h/live #3",
    ]
    assert len({ng_image_name(make_result(source=source).frame) for source in sources}) == len(sources)


def test_a_defective_frame_is_kept_bit_for_bit_and_its_record_names_it(tmp_path: Path) -> None:
    path, pictures = tmp_path / "line.sqlite", tmp_path / "line-ng"
    sinks = [DatabaseSink(path, ng_images=pictures), ng_images_sink(pictures)]
    for sink in sinks:
        sink.begin(FakeSource(None))
        for number in range(4):
            sink.write(make_result(number, 1.5 if number == 2 else 0.5), None)
        sink.close()
    with RecordReader(path) as reader:
        records = list(reader.records(RecordFilter()))
        assert [record["image_is_there"] for record in records] == [None, None, True, None]
        picture = Path(records[2]["image"])
        assert np.array_equal(read_image(picture), IMAGE)
        picture.unlink()
        (gone,) = reader.records(RecordFilter(verdict="NG"))
        assert (gone["image"], gone["image_is_there"]) == (str(picture), False)  # the row stays and says so


def test_over_the_size_the_oldest_go_also_those_of_earlier_streams(tmp_path: Path) -> None:
    earlier = NgImageStore(tmp_path)
    names = [_name(CAPTURED_UNIX + 1800 * number, number) for number in range(12)]
    for name in names[:6]:
        earlier.write(name, IMAGE)
    size = earlier.total_bytes // 6
    store = NgImageStore(tmp_path, keep_bytes=4 * size + 10)
    store.scan()
    assert _left(tmp_path) == names[2:6]
    for name in names[6:]:
        store.write(name, IMAGE)
    assert _left(tmp_path) == names[8:]
    assert store.total_bytes == sum(path.stat().st_size for path in tmp_path.rglob("*.png"))
    assert all(any(folder.iterdir()) for folder in tmp_path.rglob("*") if folder.is_dir())  # no hollow folders


def test_over_the_age_they_go_and_what_is_not_ours_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = CAPTURED_UNIX + 10 * _DAY_S
    monkeypatch.setattr("edge_ad.streaming.records.ng_images.time.time", lambda: now)
    names = [_name(CAPTURED_UNIX + number * _DAY_S, number) for number in range(10)]
    for name in names:
        NgImageStore(tmp_path).write(name, IMAGE)
    (tmp_path / "2023-11-14" / "notes.txt").write_text("mine")
    NgImageStore(tmp_path, keep_days=3.5).scan()
    assert _left(tmp_path) == ["2023-11-14/notes.txt", *names[7:]]


def test_a_clock_that_is_set_while_the_stream_runs_removes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = {"now": CAPTURED_UNIX}
    monkeypatch.setattr("edge_ad.streaming.records.ng_images.time.time", lambda: clock["now"])
    monkeypatch.setattr("edge_ad.streaming.records.ng_images._CHECK_AGE_S", 0.0)
    store = NgImageStore(tmp_path, keep_days=1)
    store.scan()
    names = [_name(CAPTURED_UNIX)]
    store.write(names[0], IMAGE)
    for jump in (400 * _DAY_S, -800 * _DAY_S):
        clock["now"] += jump
        if jump > 0:
            names.append(_name(clock["now"]))
            store.write(names[-1], IMAGE)
        store.enforce()
    assert _left(tmp_path) == names


def test_what_a_killed_stream_left_unfinished_is_removed(tmp_path: Path) -> None:
    store = NgImageStore(tmp_path)
    store.write(_name(CAPTURED_UNIX), IMAGE)
    (tmp_path / "2023-11-14" / "22" / ".221321_line_1.png.partial").write_bytes(b"half")
    NgImageStore(tmp_path).scan()
    assert _left(tmp_path) == [_name(CAPTURED_UNIX)]


def test_a_picture_that_cannot_be_written_is_an_alarm_and_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    sink = NgImagesSink(NgImageStore(tmp_path / "ng"))
    sink.attach(told)
    sink.begin(FakeSource(None))
    (tmp_path / "ng").write_text("in the way")
    for number in range(3):
        sink.write(make_result(number), None)
    (tmp_path / "ng").unlink()
    sink.write(make_result(3), None)
    assert told.kinds == ["alarm", "alarm cleared"]
    assert (told.events[1].data["lost"], sink.dropped, len(_left(tmp_path / "ng"))) == (3, 3, 1)


@pytest.mark.parametrize("limits", [{"keep_days": 0}, {"keep_days": float("nan")}, {"keep_gb": -1}])
def test_a_limit_that_is_none_is_refused(tmp_path: Path, limits: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        ng_images_sink(tmp_path / "ng", **limits)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError):
        ng_images_sink(tmp_path / "file")


def test_writing_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "2023-11-14").write_text("in the way")
    with pytest.raises(StorageError):
        NgImageStore(tmp_path).write(_name(CAPTURED_UNIX), IMAGE)
