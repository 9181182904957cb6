"""Names and ids from outside that are no UTF-8, or that hold what a terminal or spreadsheet would obey."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.cli import main
from edge_ad.streaming.records.reader import RecordFilter, RecordReader
from tests.runtime.tiny_bundle import tiny_bundle

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names that are no UTF-8")

_ODD = os.fsdecode(b"teile-\xff\xe4")
_SHOWN = r"teile-\xff\xe4"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("work") / "plate").root


def _stream(bundle: Path, *arguments: object) -> int:
    common = ("--bundle", str(bundle), "--backend", "onnxruntime", "--threads", "1", "--headless", "--no-frame-health")
    return main(["stream", *common, *map(str, arguments)])


def _folder_of_images(place: Path, count: int = 6) -> Path:
    place.mkdir()
    for number in range(count):
        image = cv2.imencode(".png", np.full((32, 32, 3), 20 * number, np.uint8))[1].tobytes()
        (place / f"{number}.png").write_bytes(image)
    return place


@pytest.mark.parametrize("kind", ["folder", "image", "video"])
def test_a_source_that_is_not_utf8_is_recorded_everywhere(
    kind: str, bundle: Path, make_video: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "video":
        source = make_video(6).rename(tmp_path / f"{_ODD}.mp4")
    else:
        source = _folder_of_images(tmp_path / _ODD)
        source = next(source.iterdir()) if kind == "image" else source
    database, lines, table = tmp_path / "line.sqlite", tmp_path / "line.jsonl", tmp_path / "line.csv"
    outputs = ("--records", database, "--save-records", lines, "--save-ng", tmp_path / "ng", "--threshold", "-1e9")
    assert _stream(bundle, "--source", source, *outputs, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    frames = 1 if kind == "image" else 6
    assert summary["frames"] == frames
    assert summary["recorded"] == {"records": frames, "database": frames}
    assert _SHOWN in summary["source"]
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [_SHOWN in record["source"] for record in records] == [True] * frames
    assert len(list((tmp_path / "ng").rglob("*xff*.png"))) == frames
    assert main(["records", "export", str(database), "--source", str(source), "--out", str(table)]) == 0
    with table.open(newline="") as file:
        assert [_SHOWN in row["source"] for row in csv.DictReader(file)] == [True] * frames


def test_pictures_in_a_folder_that_is_not_utf8_are_found_again(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, database = _folder_of_images(tmp_path / "parts", 2), tmp_path / "line.sqlite"
    outputs = ("--records", database, "--save-ng", tmp_path / _ODD, "--threshold", "-1e9")
    assert _stream(bundle, "--source", source, *outputs, "--json") == 0
    with RecordReader(database) as reader:
        assert [record["image_is_there"] for record in reader.records(RecordFilter())] == [True, True]
    capsys.readouterr()
    assert main(["records", "list", str(database), "--json"]) == 0
    assert [_SHOWN in record["image"] for record in json.loads(capsys.readouterr().out)] == [True, True]


def test_what_a_name_holds_reaches_neither_the_terminal_nor_a_spreadsheet(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "=cmd|'calc'\x1b[2J\n"
    _folder_of_images(tmp_path / name, 2)
    database, table = tmp_path / "line.sqlite", tmp_path / "line.csv"
    assert _stream(bundle, "--source", name, "--records", database, "--save-records", table) == 0
    assert main(["records", "list", str(database)]) == 0
    assert main(["records", "export", str(database), "--out", str(tmp_path / "all.csv")]) == 0
    assert main(["stream", "--bundle", str(bundle), "--source", "gone\x1b[2J.mp4", "--headless"]) == 2
    shown = "".join(capsys.readouterr())
    assert "\x1b" not in shown
    assert shown.count(r"\x1b[2J") >= 4
    for path in (table, tmp_path / "all.csv"):
        with path.open(newline="") as file:
            assert {row["source"] for row in csv.DictReader(file)} == {f"'{name}"}
