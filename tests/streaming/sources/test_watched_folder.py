"""A folder that another program writes into."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.errors import DataError
from edge_ad.streaming.records.reader import RecordFilter, RecordReader
from edge_ad.streaming.session import Limits, run_stream
from edge_ad.streaming.sinks import records_sink
from edge_ad.streaming.sources import SourceOptions, folders, source_from_uri
from edge_ad.streaming.sources.folders import WatchedFolderSource
from tests.streaming.fakes import FakeEngine
from tests.streaming.results import PATIENCE_S


def _png(brightness: int) -> bytes:
    return bytes(cv2.imencode(".png", np.full((24, 32, 3), brightness, np.uint8))[1].tobytes())


def _put(folder: Path, name: str, brightness: int, *, age_s: float = 10.0) -> Path:
    """A file that was written a while ago."""
    path = folder / name
    path.write_bytes(_png(brightness))
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def _next(source: WatchedFolderSource, *, within_s: float = PATIENCE_S) -> int | None:
    """Brightness of the next image; None when there is none in time."""
    timer = threading.Timer(within_s, source.cancel)
    timer.start()
    image = source.read()
    timer.cancel()
    source._cancelled.clear()
    return None if image is None else int(image[0, 0, 0])


@pytest.fixture
def source(tmp_path: Path) -> Iterator[WatchedFolderSource]:
    with WatchedFolderSource(tmp_path) as source:
        assert isinstance(source, WatchedFolderSource)
        yield source


def test_images_that_are_there_come_oldest_first_and_each_once(tmp_path: Path, source: WatchedFolderSource) -> None:
    _put(tmp_path, "b.png", 20, age_s=30)
    _put(tmp_path, "a.png", 40, age_s=20)
    (tmp_path / "notes.txt").write_text("no image")
    assert [_next(source), _next(source), _next(source, within_s=0.4)] == [20, 40, None]


def test_files_of_a_system_are_nobodys_image_and_other_endings_are_told_once(
    tmp_path: Path, source: WatchedFolderSource
) -> None:
    for name in ("._a.png", "Thumbs.db", "a.jp2", "b.jp2"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
        os.utime(tmp_path / name, (1e9, 1e9))
    _put(tmp_path, "a.png", 20)
    assert [_next(source), _next(source, within_s=0.4)] == [20, None]
    assert source.corrupt == 0
    (note,) = source.notes
    assert ".jp2" in note


def test_new_image_is_read_after_it_was_written(tmp_path: Path, source: WatchedFolderSource) -> None:
    threading.Timer(0.2, lambda: (tmp_path / "new.png").write_bytes(_png(60))).start()
    assert _next(source) == 60
    assert _next(source, within_s=0.4) is None


def test_file_that_is_still_being_written_is_waited_for(
    tmp_path: Path, source: WatchedFolderSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_SETTLED_S", 2.0)  # the program that writes is kept waiting, too
    content = bytes(cv2.imencode(".bmp", np.full((24, 32, 3), 80, np.uint8))[1].tobytes())

    def write_slowly() -> None:
        with (tmp_path / "slow.bmp").open("wb") as file:
            file.truncate(len(content))  # some programs reserve the whole file first
            for start in range(0, len(content), 400):
                file.write(content[start : start + 400])
                file.flush()
                time.sleep(0.08)

    writer = threading.Thread(target=write_slowly)
    writer.start()
    assert _next(source) == 80
    assert not writer.is_alive()
    assert source.corrupt == 0


def test_file_that_is_written_again_is_a_new_image(tmp_path: Path, source: WatchedFolderSource) -> None:
    _put(tmp_path, "latest.png", 20, age_s=30)
    assert _next(source) == 20
    _put(tmp_path, "latest.png", 90, age_s=20)
    assert [_next(source), _next(source, within_s=0.4)] == [90, None]


def test_image_that_is_deleted_before_its_turn_is_nobodys_loss(tmp_path: Path, source: WatchedFolderSource) -> None:
    for number in range(3):
        _put(tmp_path, f"{number}.png", 20 * number, age_s=30 - number)
    assert _next(source) == 0
    (tmp_path / "1.png").unlink()
    assert _next(source) == 40
    assert (source.corrupt, list(source.notes)) == (0, [])
    assert len(source._seen) + len(source._changing) <= 3


def test_bad_image_is_counted_and_named_once(tmp_path: Path, source: WatchedFolderSource) -> None:
    _put(tmp_path, "bad.png", 20, age_s=30)
    content = _png(30)[:-20]
    (tmp_path / "bad.png").write_bytes(content)
    os.utime(tmp_path / "bad.png", (1e9, 1e9))
    _put(tmp_path, "good.png", 40)
    assert [_next(source), _next(source, within_s=0.4)] == [40, None]
    assert source.corrupt == 1
    assert len(source.notes) == 1
    assert "bad.png" in source.notes[0]


def test_bad_image_is_told_in_the_records(tmp_path: Path, engine: FakeEngine) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in (1, 3):
        _put(folder, f"{number}.png", 40, age_s=30 - number)
    (folder / "2.png").write_bytes(_png(30)[:-20])
    os.utime(folder / "2.png", (1e9, 1e9))
    sink = records_sink(tmp_path / "line.sqlite")
    source = WatchedFolderSource(folder)
    run_stream(engine, source, threshold=1.0, sinks=[sink], limits=Limits(max_frames=2))
    with RecordReader(tmp_path / "line.sqlite") as reader:
        (event,) = reader.events(RecordFilter())
    assert (event["event"], event["source"]) == ("corrupt", str(folder))
    assert event["data"] == {"frames": 1, "names": ["2.png"]}
    assert "2.png" in event["text"]


def test_images_are_moved_once_the_next_is_asked_for_and_nothing_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "done").mkdir()
    _put(tmp_path / "done", "a.png", 1)
    _put(tmp_path, "a.png", 20, age_s=30)
    _put(tmp_path, "b.png", 40, age_s=20)
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff broken")
    os.utime(tmp_path / "bad.jpg", (1e9, 1e9))
    with source_from_uri(str(tmp_path), SourceOptions(watch=True, after="move")) as source:
        assert isinstance(source, WatchedFolderSource)
        assert _next(source) == 20
        assert (tmp_path / "a.png").exists()
        assert _next(source) == 40
        assert not (tmp_path / "a.png").exists()
    assert sorted(path.name for path in (tmp_path / "done").iterdir()) == ["a.1.png", "a.png", "b.png"]
    assert [path.name for path in (tmp_path / "bad").iterdir()] == ["bad.jpg"]


def test_folder_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    with WatchedFolderSource(folder) as source:
        assert isinstance(source, WatchedFolderSource)
        folder.rmdir()
        assert _next(source, within_s=0.3) is None
        folder.mkdir()
        _put(folder, "a.png", 50)
        assert _next(source) == 50
    assert len(source.notes) == 1


def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone"), source_from_uri(f"file://{tmp_path}/gone?watch=1"):
        pass
