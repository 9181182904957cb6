"""Every record of a frame that comes from a file says which file."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.cli import main
from edge_ad.streaming.sources import SourceOptions, source_from_uri
from tests.runtime.tiny_bundle import tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("work") / "plate").root


def _photos(place: Path, names: list[str]) -> list[Path]:
    place.mkdir(parents=True)
    for number, name in enumerate(names):
        image = cv2.imencode(".png", np.full((32, 32, 3), 40 * number + 20, np.uint8))[1].tobytes()
        (place / name).write_bytes(image)
    return sorted(place.iterdir())


def _stream(bundle: Path, *arguments: object) -> int:
    common = ("--bundle", bundle, "--backend", "onnxruntime", "--threads", "1", "--headless", "--no-frame-health")
    return main(["stream", *map(str, (*common, "--threshold", "-1e9", *arguments))])


def test_a_photo_is_named_in_every_record(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [str(path) for path in _photos(tmp_path / "in" / "line a", ["a 1.png", "ä.png", "=b.png"])]
    monkeypatch.chdir(tmp_path)
    for number, ending in enumerate(("jsonl", "csv")):
        outputs = ("--save-records", f"r.{ending}", "--records", f"{number}.sqlite", "--save-ng", "ng")
        assert _stream(bundle, "--source", "in/line a", *outputs) == 0
    lines = [json.loads(line) for line in Path("r.jsonl").read_text().splitlines()]
    assert [line["path"] for line in lines] == photos
    with Path("r.csv").open(newline="", encoding="utf-8") as file:
        assert [row["path"] for row in csv.DictReader(file)] == photos
    connection = sqlite3.connect("0.sqlite")
    assert [row[0] for row in connection.execute("SELECT path FROM records ORDER BY id")] == photos
    stems = [f"{Path(name).stem}-" for name in ("a-1", "b")]
    pictures = [path.name for path in Path("ng").rglob("*.png")]
    assert [sum(f"_{stem}" in picture for picture in pictures) for stem in stems] == [2, 2]
    events = [json.loads(row[0]) for row in connection.execute("SELECT data FROM events WHERE kind = 'ng'")]
    assert [event["path"] for event in events] == photos
    connection.close()
    assert main(["records", "export", "0.sqlite", "--out", "e.csv"]) == 0
    with Path("e.csv").open(newline="", encoding="utf-8") as file:
        assert [row["path"] for row in csv.DictReader(file)] == photos


def test_a_single_photo_and_a_video_are_named_with_the_frames_number(
    bundle: Path, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    (photo,), video = _photos(tmp_path / "in", ["x.png"]), make_video(3)
    lines = tmp_path / "r.jsonl"
    assert _stream(bundle, "--source", f"one={photo}", "--source", f"film={video}", "--save-records", lines) == 0
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    found = sorted((record["source"], record["path"], record["frame"]) for record in records)
    assert found == [*(("film", str(video), number) for number in range(3)), ("one", str(photo), 0)]


@pytest.mark.skipif(os.name != "posix", reason="other systems have no file names that are no UTF-8")
def test_bytes_of_a_path_that_are_no_utf8_are_spelled_out(bundle: Path, tmp_path: Path) -> None:
    _photos(tmp_path / os.fsdecode(b"in-\xff"), [os.fsdecode(b"x-\xe4.png")])
    lines, database = tmp_path / "r.jsonl", tmp_path / "r.sqlite"
    outputs = ("--save-records", lines, "--records", database, "--save-ng", tmp_path / "ng")
    assert _stream(bundle, "--source", tmp_path / os.fsdecode(b"in-\xff"), *outputs) == 0
    path = str(tmp_path / r"in-\xff" / r"x-\xe4.png")
    assert json.loads(lines.read_text())["path"] == path
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT path FROM verdicts").fetchall() == [(path,)]


def test_a_watched_photo_has_the_path_at_which_it_was_read(tmp_path: Path) -> None:
    (first, second) = _photos(tmp_path / "in", ["1.png", "2.png"])
    for number, path in enumerate((first, second)):
        os.utime(path, (number, number))
    source = source_from_uri(str(tmp_path / "in"), SourceOptions(watch=True, after="move"))
    with source:
        assert source.path == ""
        for path in (first, second):
            assert source.read() is not None
            assert source.path == str(path)
    assert sorted(path.name for path in (tmp_path / "in" / "done").iterdir()) == ["1.png", "2.png"]


def test_a_folder_that_is_played_again_names_what_is_in_it_then(tmp_path: Path) -> None:
    (first,) = _photos(tmp_path / "in", ["1.png"])
    with source_from_uri(str(tmp_path / "in"), SourceOptions(loop=True)) as source:
        source.read()
        assert source.path == str(first)
        shutil.move(first, tmp_path / "in" / "2.png")
        source.read()
        assert source.path == str(tmp_path / "in" / "2.png")
