"""False alarms and missed defects that a viewer of the page puts into a folder to train on."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_ad.data.products import Folders, open_product
from edge_ad.server.originals import Originals
from edge_ad.streaming.frame import Event, Result
from tests.server.live_page import Answer, LivePage, frame, judged
from tests.streaming.results import wait_until

_TOKEN = "a-token-of-the-line"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "corrected"


@pytest.fixture
def page(folder: Path) -> Iterator[LivePage]:
    with LivePage(corrections=folder) as page:
        yield page


def _result(index: int, score: float, *, value: int = 90, at: float | None = None) -> Result:
    result = judged(index, score, at=at)
    image = np.full((240, 320, 3), value, np.uint8)
    image[0, 0] = (1, 2, 3)
    return replace(result, frame=replace(result.frame, image=image))


def _only(page: LivePage, path: str) -> dict[str, Any]:
    wait_until(lambda: bool(page.get(path).json))
    (row,) = page.get(path).json
    return dict(row)


def _correct(
    page: LivePage, find: dict[str, Any], label: str | None, *, finding: dict[str, Any] | None = None, **headers: str
) -> Answer:
    body = {"label": label, "by": "Ada", "frame": find["frame"], **(finding or {})}
    return page.post(f"/api/finds/{find['number']}/label", body, **headers)


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _audit(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "corrections.jsonl").read_text().splitlines()]


def test_a_false_alarm_becomes_a_good_photo_once_and_can_be_taken_back(page: LivePage, folder: Path) -> None:
    page.show(_result(4, 2.0, value=120))
    find = _only(page, "/api/finds")
    assert _correct(page, find, "good").json == {"label": "good", "kind": "", "changed": True, "good": 1, "defect": 0}
    assert _correct(page, find, "good").json == {"label": "good", "kind": "", "changed": False, "good": 1, "defect": 0}
    (name,) = [name for name in _files(folder) if name.endswith(".png")]
    assert name.startswith("good/2023-11-14_")
    image = cv2.imread(str(folder / name))
    assert (image[0, 0].tolist(), image[5, 5].tolist()) == ([1, 2, 3], [120] * 3)
    (entry,) = _audit(folder)
    assert (entry["by"], entry["label"], entry["file"]) == ("Ada (127.0.0.1)", "good", name)
    assert (entry["frame"], entry["score"], entry["bundle"]) == (4, 2.0, "hash")
    (event,) = page.control.take_events()
    assert (event.kind, event.text) == ("verdict corrected", "Frame 4 marked as a false alarm by Ada (127.0.0.1).")
    assert _only(page, "/api/finds")["label"] == "good"
    assert _correct(page, find, None).json == {"label": None, "kind": "", "changed": True, "good": 0, "defect": 0}
    assert _files(folder) == ["corrections.jsonl"]
    assert [entry["label"] for entry in _audit(folder)] == ["good", None]


def test_a_passed_frame_that_missed_a_defect_is_one_of_the_passes(page: LivePage, folder: Path) -> None:
    now = time.perf_counter()
    page.show(*(_result(number, score, at=now + number / 10) for number, score in enumerate((0.2, 0.9, 0.4))))
    passed = _only(page, "/api/passes")
    assert (passed["frame"], passed["score"], passed["frames"]) == (1, 0.9, 3)
    assert page.get("/api/finds").json == []
    assert page.get(f"/api/finds/{passed['number']}?kind=thumbnail").headers["content-type"] == "image/jpeg"
    assert _correct(page, passed, "good").status == 400
    assert _correct(page, passed, "defect").json["defect"] == 1
    assert [name.partition("/")[0] for name in _files(folder)] == ["corrections.jsonl", "defect"]


_PLACE = [{"radius": 50, "points": [250, 500, 750, 500]}]


def test_a_defect_has_a_kind_and_a_place_that_become_folder_and_mask(page: LivePage, folder: Path) -> None:
    page.show(_result(4, 2.0, value=120))
    find = _only(page, "/api/finds")
    finding = {"kind": "Missing Hole", "place": _PLACE}
    assert _correct(page, find, "defect", finding=finding).json["kind"] == "missing-hole"
    (name,) = [name for name in _files(folder) if name.startswith("defect/missing-hole/")]
    mask = cv2.imread(
        str(folder / name.replace("defect/", "masks/").replace(".png", "_mask.png")), cv2.IMREAD_GRAYSCALE
    )
    assert mask is not None
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max()) == (pytest.approx(120 - 16, abs=2), pytest.approx(120 + 16, abs=2))
    assert (columns.min(), columns.max()) == (pytest.approx(80 - 16, abs=2), pytest.approx(239 + 16, abs=2))
    (event,) = page.control.take_events()
    assert event.kind == "verdict agreed"
    assert event.text == "Frame 4 marked as a defect (missing-hole) by Ada (127.0.0.1)."
    assert (event.data["photo"], event.data["place"]) == (name, _PLACE)
    assert _only(page, "/api/finds")["kind"] == "missing-hole"
    product = open_product(None, Folders(defects=(folder / "defect",)), part="test")
    assert [(sample.defect_type, len(sample.masks)) for sample in product.test] == [("missing-hole", 1)]
    _correct(page, find, "defect", finding={"kind": "scratch"})  # another word on the same frame replaces the first
    assert [name.rpartition("/")[0] for name in _files(folder) if name.endswith(".png")] == ["defect/scratch"]
    _correct(page, find, None)
    assert _files(folder) == ["corrections.jsonl"]


@pytest.mark.parametrize(
    ("label", "finding", "words"),
    [
        ("good", {"kind": "scratch"}, "those of a defect"),
        ("defect", {"kind": "../up"}, "kind must be a word"),
        ("defect", {"kind": "good"}, "kind must be a word"),
        ("defect", {"place": [{"radius": 5, "points": [1, 2, 3]}]}, "needs a radius and points"),
        ("defect", {"place": [{"radius": 5, "points": [1, 1001]}]}, "from 0 to 1000"),
        ("defect", {"place": [{"radius": 5, "points": [1, 1] * 600}] * 2}, "1000 points"),
    ],
)
def test_a_finding_that_makes_no_sense_is_one_line(
    page: LivePage, folder: Path, label: str, finding: dict[str, Any], words: str
) -> None:
    page.show(_result(4, 2.0))
    answer = _correct(page, _only(page, "/api/finds"), label, finding=finding)
    assert (answer.status, answer.text.count("\n")) == (413 if words == "1000 points" else 400, 1)
    assert words in answer.text or answer.status == 413
    assert not folder.exists()


def test_the_folder_is_more_data_for_training(page: LivePage, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "line").mkdir()
    for number in range(9):
        cv2.imwrite(str(tmp_path / "line" / f"{number}.png"), np.full((240, 320, 3), number, np.uint8))
    page.show(_result(0, 2.0))
    _correct(page, _only(page, "/api/finds"), "good")
    product = open_product(tmp_path / "line", Folders(more=(folder,)), part="good")
    assert len(product.good) == 10
    assert product.remarks == ()


def test_the_same_picture_of_a_later_stream_is_there_already(folder: Path) -> None:
    for changed in (True, False):
        with LivePage(corrections=folder) as page:
            page.show(_result(7, 2.0))
            find = _only(page, "/api/finds")
            answer = _correct(page, find, "good").json
            assert (answer["label"], answer["changed"], answer["good"]) == ("good", changed, 1)
    assert len(_audit(folder)) == 1


def test_a_frame_that_was_replaced_by_a_worse_one_is_not_taken_for_it(page: LivePage, folder: Path) -> None:
    now = time.perf_counter()
    page.show(_result(0, 2.0, at=now), *(_result(number, 1.5, at=now + number / 4) for number in range(1, 5)))
    find = _only(page, "/api/finds")
    page.show(_result(5, 3.0, at=now + 1.25))
    answer = _correct(page, find, "good")
    assert (answer.status, answer.text.count("\n")) == (400, 1)
    assert "Another frame" in answer.text
    assert not folder.exists()


def test_corrections_need_the_token_and_a_name(folder: Path) -> None:
    with LivePage(corrections=folder, token=_TOKEN) as page:
        page.show(_result(0, 2.0))
        find = {"number": 1, "frame": 0}
        assert _correct(page, find, "good").status == 401
        bearer = {"authorization": f"Bearer {_TOKEN}"}
        assert page.post("/api/finds/1/label", {"label": "good", "frame": 0}, **bearer).status == 400
        assert _correct(page, find, "good", origin="http://other.example", **bearer).status == 403
        assert not folder.exists()
        assert _correct(page, find, "good", **bearer).status == 200


def test_without_a_folder_nothing_passed_is_kept_and_nothing_can_be_corrected() -> None:
    with LivePage() as page:
        page.show(_result(0, 2.0), _result(1, 0.5))
        find = _only(page, "/api/finds")
        assert page.get("/api/passes").json == []
        assert _correct(page, find, "good").status == 404


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _read_only(*_: object) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), "corrections.jsonl")


@pytest.mark.parametrize(("fail", "words"), [(_full, "the disk is full"), (_read_only, "no permission")])
def test_a_folder_that_cannot_be_written_is_one_line_and_leaves_nothing(
    page: LivePage, folder: Path, monkeypatch: pytest.MonkeyPatch, fail: Callable[..., None], words: str
) -> None:
    page.show(_result(0, 2.0))
    find = _only(page, "/api/finds")
    with monkeypatch.context() as patched:
        patched.setattr("edge_ad.streaming.records.corrections.os.fsync", fail)
        answer = _correct(page, find, "good")
    assert (answer.status, answer.text.count("\n")) == (507, 1)
    assert words in answer.text
    assert [name for name in _files(folder) if name.endswith(".png")] == []
    assert page.control.take_events() == []
    assert _correct(page, find, "good").json["changed"]
    assert len(_audit(folder)) == 1


def test_originals_are_kept_in_bounded_memory() -> None:
    originals = Originals(3 * 240 * 320 * 3)
    for number in range(5):
        originals.keep(number, frame(number))
    assert [number for number in range(5) if originals.get(number) is not None] == [2, 3, 4]
    originals.keep(4, frame(9))
    kept = originals.get(4)
    assert kept is not None
    assert (kept.index, originals.get(3) is not None) == (9, True)


def test_parts_are_listed_newest_first(page: LivePage) -> None:
    for number, verdict in enumerate(("OK", "NG")):
        data = {
            "part": number,
            "part_id": f"P{number}",
            "verdict": verdict,
            "reason": "",
            "frames": 3,
            "defective": number,
        }
        page.sink.event(Event("part", 1_700_000_000.0 + number, "cam", "…", {**data, "score": 0.5, "threshold": 1.0}))
    parts = page.get("/api/parts").json
    assert [(part["part_id"], part["verdict"], part["at"]) for part in parts] == [
        ("P1", "NG", 1_700_000_001.0),
        ("P0", "OK", 1_700_000_000.0),
    ]
    assert page.get("/api/events").json == []
