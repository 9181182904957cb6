"""``edge-ad predict``: verdicts on photos, whatever a folder holds."""

import csv
import errno
import io
import json
import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.bundle import Bundle
from edge_ad.cli.app import main
from tests.cli.conftest import SIZE_HW


def _photo(path: Path, blue: int) -> Path:
    """The bundle's score is the highest blue value, over 255; its threshold is 0.5."""
    image = np.full((*SIZE_HW, 3), 90, np.uint8)
    image[..., 0] = 20
    image[4:8, 10:16, 0] = blue
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two good photos and two defective ones, one of them in a folder inside."""
    for name, blue in (("a.png", 30), ("b.png", 200), ("c.png", 100), ("in/d.png", 255)):
        _photo(tmp_path / "photos" / name, blue)
    return tmp_path / "photos"


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_folder_is_judged_with_all_inside(bundle: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(bundle.root), str(photos), "--format", "csv"]) == 0
    rows = _rows(capsys.readouterr().out)
    assert [(Path(row["path"]).name, row["verdict"]) for row in rows] == [
        ("a.png", "OK"),
        ("b.png", "NG"),
        ("c.png", "OK"),
        ("d.png", "NG"),
    ]
    assert float(rows[1]["score"]) == pytest.approx(200 / 255, abs=1e-4)


def test_regions_are_boxes_in_pixels_of_the_photo(
    bundle: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(bundle.root), str(photos / "b.png"), "--json"]) == 0
    (document,) = map(json.loads, capsys.readouterr().out.splitlines())
    (region,) = document["regions"]
    assert (region["x"], region["y"], region["width"], region["height"], region["area"]) == (10, 4, 6, 4, 24)


def test_damaged_photos_are_named_and_never_the_end_of_it(
    bundle: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (photos / "a.png").read_bytes()
    (photos / "b.png").write_bytes(whole[: len(whole) // 2])
    assert main(["predict", str(bundle.root), str(photos), "--format", "csv"]) == 2
    captured = capsys.readouterr()
    rows = _rows(captured.out)
    assert [row["verdict"] for row in rows] == ["OK", "unjudged", "OK", "NG"]
    assert rows[1]["score"] == ""
    assert "b.png" in rows[1]["reason"]
    assert "1 of 4 photos could not be judged" in captured.err


def test_patterns_and_paths_are_judged_once_in_their_order(
    bundle: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = _photo(photos / "[x] odd.png", 30)
    assert main(["predict", str(bundle.root), str(odd), str(photos / "*.png"), "--json"]) == 0
    names = [Path(json.loads(line)["path"]).name for line in capsys.readouterr().out.splitlines()]
    assert names == ["[x] odd.png", "a.png", "b.png", "c.png"]


@pytest.mark.parametrize("wrong", ["none.png", "*.gif", "empty"])
def test_what_is_not_there_is_said(
    bundle: Bundle, tmp_path: Path, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["predict", str(bundle.root), str(tmp_path / wrong)]) == 2
    assert wrong in capsys.readouterr().err


def test_out_holds_pictures_lists_and_a_page(bundle: Bundle, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copy(photos / "a.png", photos / "<b>&.png")
    assert main(["predict", str(bundle.root), str(photos), "--out", str(out)]) == 0
    assert len(list((out / "overlays").glob("*.jpg"))) == len(list((out / "maps").glob("*.png"))) == 5
    assert len(_rows((out / "verdicts.csv").read_text())) == len((out / "verdicts.jsonl").read_text().splitlines()) == 5
    page = (out / "index.html").read_text()
    assert "&lt;b&gt;&amp;.png" in page
    assert "<b>&.png" not in page


def test_out_that_is_not_empty_is_left_alone(bundle: Bundle, photos: Path) -> None:
    before = sorted(photos.rglob("*"))
    assert main(["predict", str(bundle.root), str(photos), "--out", str(photos)]) == 2
    assert sorted(photos.rglob("*")) == before


def test_threshold_of_the_option_judges(bundle: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(bundle.root), str(photos), "--threshold", "0.9", "--json"]) == 0
    verdicts = [json.loads(line)["verdict"] for line in capsys.readouterr().out.splitlines()]
    assert verdicts == ["OK", "OK", "OK", "NG"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such a name")
def test_page_takes_names_that_are_no_utf8(bundle: Bundle, photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "a.png", os.fsencode(photos) + b"/\xff.png")
    assert main(["predict", str(bundle.root), str(photos), "--out", str(tmp_path / "out")]) == 0
    assert "\\xff.png" in (tmp_path / "out" / "index.html").read_text()


def test_name_that_no_file_can_have_is_no_photo(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(bundle.root), "x" * 5000]) == 2
    assert "No such photo" in capsys.readouterr().err


def test_out_in_a_folder_that_is_judged_is_refused(
    bundle: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(bundle.root), str(photos), "--out", str(photos / "verdicts")]) == 2
    assert "would be judged as photos" in capsys.readouterr().err
    assert not (photos / "verdicts").exists()


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize(
    ("error", "code"), [(OSError(errno.ENOSPC, "No space left on device"), 1), (KeyboardInterrupt(), 130)]
)
def test_out_that_cannot_be_finished_is_left_as_it_was(
    bundle: Bundle, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, is_there: bool,
) -> None:  # fmt: skip
    out, write_bytes, written = tmp_path / "out", Path.write_bytes, []

    def fails_at_the_third(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) == 3:
            raise error
        return write_bytes(path, content)

    if is_there:
        out.mkdir()
    monkeypatch.setattr(Path, "write_bytes", fails_at_the_third)
    assert main(["predict", str(bundle.root), str(photos), "--out", str(out)]) == code
    assert len(written) == 3
    assert out.exists() == is_there
    assert not is_there or not any(out.iterdir())
    assert ("nothing is left in" if code == 130 else "the disk is full") in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")
def test_links_in_a_circle_and_pipes_end_nothing_and_are_told(
    bundle: Bundle, photos: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (photos / "circle.png").symlink_to("circle.png")
    (photos / "gone.png").symlink_to("nowhere.png")
    (photos / "e.jp2").write_bytes(b"")
    assert main(["predict", str(bundle.root), str(photos), "--format", "csv"]) == 0
    assert len(_rows(capsys.readouterr().out)) == 4
    assert "1 of ending .jp2, 2 links that lead nowhere or back" in caplog.text
    os.mkfifo(photos / "pipe.png")
    assert main(["predict", str(bundle.root), str(photos / "pipe.png")]) == 2
    assert "no regular file" in capsys.readouterr().err
