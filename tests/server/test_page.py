"""The page as a browser asks for it."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import edge_ad.server
from edge_ad.server import Limits, web_sink
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Event
from edge_ad.streaming.records import RecordStore, VerdictRow
from edge_ad.streaming.session import run_stream
from tests.server.live_page import Answer, LivePage, judged, read_state, unjudged
from tests.streaming.fakes import FakeEngine, FakeSource
from tests.streaming.results import wait_until

_FILES = Path(edge_ad.server.__file__).parent


def _until(ask: Callable[[], Answer], is_enough: Callable[[Answer], bool]) -> Answer:
    answers: list[Answer] = []

    def has_come() -> bool:
        answers[:] = [ask()]
        return is_enough(answers[0])

    wait_until(has_come)
    return answers[0]


def test_page_and_all_it_needs_come_from_here(shared_page: LivePage) -> None:
    index = shared_page.get("/")
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    asked = {"/static/style.css", "/static/app.js", "/static/icon.svg"}
    assert asked <= set(re.findall(r'(?:href|src)="(/[^"]+)"', index.text))
    for path in (*_FILES.glob("static/*"), *_FILES.glob("templates/*")):
        text = path.read_text()
        assert not re.search(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}/", text.replace("http://www.w3.org/2000/svg", ""))
        asked |= {f"/static/{found}" for found in re.findall(r'from "\./([^"]+)"', text)}
        if path.suffix == ".html":
            # The page's own security policy allows neither.
            assert not re.search(r"<script>|<style|style=|\bon[a-z]+=", text), path
    for address in asked:
        answer = shared_page.get(address)
        assert answer.status == 200, address
        assert answer.headers["content-type"].partition(";")[0] in ("text/css", "text/javascript", "image/svg+xml")


def test_state_comes_by_itself(page: LivePage) -> None:
    at = time.perf_counter()
    page.show(judged(0, 0.5, at=at), judged(1, 2.0, at=at))
    connection, response = page.open_stream("/api/live")
    assert response.getheader("content-type") == "text/event-stream; charset=utf-8"
    state = read_state(response)
    assert state["threshold"] == 1.0
    assert (state["paused"], state["database"], state["login"], state["records"]) == (False, False, False, 2)
    (source,) = state["sources"]
    assert (source["name"], source["defective"], source["score"], source["frame"]) == ("cam 0", True, 2.0, 1)
    assert source["trend"][0][1:] == [0.5, 2.0, 2, 1, 1.0]
    page.sink.unjudged(unjudged(2, "black"))
    wait_until(lambda: read_state(response)["sources"][0]["reason"] == "black")
    connection.close()


def test_picture_is_the_newest_and_waits_for_a_newer_one(page: LivePage) -> None:
    page.show(judged(0, 0.5))
    first = page.get("/api/picture")
    assert first.headers["content-type"] == "image/jpeg"
    assert cv2.imdecode(np.frombuffer(first.body, np.uint8), cv2.IMREAD_COLOR).shape == (480, 640, 3)
    serial = first.headers["x-serial"]
    page.show(judged(1, 3.0))
    second = page.get(f"/api/picture?after={serial}")
    assert second.headers["x-serial"] == "2"
    assert second.body != first.body
    assert page.get("/api/picture?view=plain").body != second.body


def test_picture_of_nothing_is_no_content(shared_page: LivePage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.server.api._LONGEST_WAIT_S", 0.1)
    assert shared_page.get("/api/picture?source=7").status == 204


def test_motion_is_jpeg_after_jpeg(page: LivePage) -> None:
    page.show(judged(0, 0.5))
    connection, response = page.open_stream("/stream.mjpg")
    assert response.getheader("content-type") == "multipart/x-mixed-replace; boundary=edge-ad-frame"
    for number in range(3):
        while not (line := response.readline()).startswith(b"content-length"):
            assert line
        response.readline()
        assert response.read(int(line.split(b":")[1]))[:2] == b"\xff\xd8"
        page.show(judged(number + 1, 0.5))
    connection.close()


def test_trend_of_both_spans(page: LivePage) -> None:
    before = time.time()
    page.show(judged(0, 0.5))
    short, long = page.get("/api/trend").json, page.get("/api/trend?span=24h&source=0").json
    assert (short["slice_s"], short["seconds"], long["slice_s"], long["seconds"]) == (0.5, 300, 60, 86400)
    assert before - 1 < short["rows"][0][0] < time.time() + 1  # where its slice of half a second begins
    assert page.get("/api/trend?source=3").json["rows"] == []


def test_score_that_is_no_number_of_json_is_null_in_every_answer(page: LivePage) -> None:
    page.show(judged(7, math.inf))
    answer = _until(lambda: page.get("/api/finds"), lambda answer: answer.status != 200 or bool(answer.json))
    assert answer.status == 200
    assert answer.json[0]["score"] is None
    assert page.get("/api/records.json").json[0]["score"] is None


def test_finds_have_their_pictures(page: LivePage) -> None:
    page.show(judged(4, 2.0))
    (find,) = _until(lambda: page.get("/api/finds"), lambda answer: bool(answer.json)).json
    assert (find["frame"], find["score"], find["source"], find["frames"]) == (4, 2.0, "cam 0", 1)
    sizes = {
        len(page.get(f"/api/finds/{find['number']}?kind={kind}").body) for kind in ("thumbnail", "overlay", "plain")
    }
    assert len(sizes) == 3
    assert page.get("/api/finds/99").status == 404


def test_threshold_is_changed_with_an_audit_entry(page: LivePage) -> None:
    before = time.time()
    page.show(*(judged(number, number / 10) for number in range(20)))
    preview = page.get("/api/threshold/preview?value=1.45").json
    assert preview == {"frames": 20, "defective": 5, "defective_now": 9}
    assert page.post("/api/threshold", {"value": 1.45, "by": "  Ada \t Lovelace "}).json == {"threshold": 1.45}
    assert page.control.threshold == 1.45
    page.pass_events()
    (event,) = page.get("/api/events").json
    assert (event["kind"], event["by"]) == ("threshold changed", "Ada Lovelace (127.0.0.1)")
    assert event["text"] == "Threshold changed from 1 to 1.45 by Ada Lovelace (127.0.0.1)."
    assert before <= event["at"] <= time.time()


def test_threshold_that_is_meant_for_another_bundle_is_refused(page: LivePage) -> None:
    facts = page.control.bundle
    page.control.use_bundle({**facts, "hash": "seen"}, 1.0)
    assert page.post("/api/threshold", {"value": 2, "by": "Ada", "bundle": "seen"}).status == 200
    page.control.use_bundle({**facts, "hash": "newer"}, 0.2)
    answer = page.post("/api/threshold", {"value": 30, "by": "Ada", "bundle": "seen"})
    assert (answer.status, page.control.threshold) == (400, 0.2)
    assert "Another bundle has taken over" in answer.text


@pytest.mark.parametrize(
    "body",
    [
        {"value": "nan", "by": "Ada"},
        {"value": "2", "by": "Ada"},
        {"value": math.nan, "by": "Ada"},
        {"value": -math.inf, "by": "Ada"},
        {"value": 1e999, "by": "Ada"},
        {"value": None, "by": "Ada"},
        {"value": True, "by": "Ada"},
        {"value": 10**400, "by": "Ada"},
        {"value": [1], "by": "Ada"},
        {"by": "Ada"},
        {"value": 2},
        {"value": 2, "by": " "},
        {"value": 2, "by": "x" * 41},
        {"value": 2, "by": "Ada\u202eadA"},
        {"value": 2, "by": 5},
        {"value": 2, "by": "Ada", "bundle": 5},
        [],
        "text",
    ],
)
def test_wrong_changes_are_refused_in_one_line(shared_page: LivePage, body: object) -> None:
    answer = shared_page.post("/api/threshold", body)
    assert answer.status == 400
    assert answer.text.count("\n") == 1
    assert shared_page.control.threshold == 1.0
    assert shared_page.control.take_events() == []


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", '"2"', '"NaN"', "[2]", "0x2"])
def test_threshold_that_is_no_finite_number_is_refused(shared_page: LivePage, value: str) -> None:
    body = f'{{"value": {value}, "by": "Ada"}}'
    answer = shared_page.request("POST", "/api/threshold", body, {"content-type": "application/json"})
    assert (answer.status, answer.text.count("\n")) == (400, 1)
    assert shared_page.control.threshold == 1.0


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def test_json_is_strict_and_no_part_is_good_whatever_the_numbers_are(page: LivePage) -> None:
    for number, (score, pixel) in enumerate(((math.nan, 0.0), (math.inf, 0.0), (0.5, math.nan))):
        page.show(judged(number, score, source=number, pixel=pixel))
    _until(lambda: page.get("/api/finds"), lambda answer: answer.text.count('"version"') == 3)
    paths = ("/api/finds", "/api/trend?source=2", "/api/events", "/api/records.json", "/api/threshold/preview?value=1")
    answers = {path: page.get(path) for path in paths}
    assert {answer.status for answer in answers.values()} == {200}
    told = {path: json.loads(answer.text, parse_constant=_refuse) for path, answer in answers.items()}
    assert [(find["score"], find["threshold"]) for find in told["/api/finds"]] == [
        (0.5, 1.0),
        (None, 1.0),
        (None, 1.0),
    ]
    assert told["/api/trend?source=2"]["rows"][0][1:] == [0.5, 0.5, 1, 1, 1.0]
    assert told["/api/threshold/preview?value=1"] == {"frames": 3, "defective": 3, "defective_now": 3}
    connection, response = page.open_stream("/api/live")
    assert [source["defective"] for source in read_state(response)["sources"]] == [True] * 3
    connection.close()


def test_pause_and_resume(page: LivePage) -> None:
    assert page.post("/api/pause", {"by": "Ada"}).json == {"paused": True}
    assert page.control.is_paused
    assert page.post("/api/resume", {"by": "Ada"}).json == {"paused": False}
    assert [event.kind for event in page.control.take_events()] == ["paused", "resumed"]
    assert page.post("/api/pause", {}).status == 400
    assert not page.control.is_paused


def test_alarms_are_in_the_state(page: LivePage) -> None:
    page.sink.event(Event("alarm", 5.0, text="disk full", data={"alarm": "records"}))
    connection, response = page.open_stream("/api/live")
    assert [alarm["text"] for alarm in read_state(response)["alarms"]] == ["disk full"]
    connection.close()


def test_records_are_downloaded(page: LivePage) -> None:
    page.show(*(judged(number, number / 2) for number in range(5)))
    records = page.get("/api/records.json?newest=3")
    assert [(row["frame"], row["verdict"]) for row in records.json] == [(2, "OK"), (3, "NG"), (4, "NG")]
    assert re.fullmatch(r'attachment; filename="edge-ad-records-\w+\.json"', records.headers["content-disposition"])
    rows = list(csv.DictReader(io.StringIO(page.get("/api/records.csv").text)))
    assert [row["score"] for row in rows] == ["0.0", "0.5", "1.0", "1.5", "2.0"]
    assert page.get("/api/records.csv?newest=10001").status == 400
    assert page.get("/api/database.csv").status == 404


def test_database_is_exported_while_it_is_written(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "records.sqlite", source="cam")
    store.commit([VerdictRow("cam", "hash", number, 1e9, 0.5, 1.0, False, 8.0, 9.0) for number in range(3000)])
    with LivePage(database=tmp_path / "records.sqlite") as page:
        rows = list(csv.DictReader(io.StringIO(page.get("/api/database.csv?newest=2500").text)))
    store.close()
    assert [int(row["frame"]) for row in rows] == list(range(500, 3000))


def test_database_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with LivePage(database=tmp_path / "none.sqlite") as page:
        answer = page.get("/api/database.csv")
    assert (answer.status, answer.text.count("\n")) == (400, 1)


@pytest.mark.parametrize(
    "path", ["/api/picture?source=x", "/api/picture?source=-1", "/api/picture?after=1e3", "/api/picture?view=x",
             "/api/trend?span=1h", "/api/records.csv?newest=²", "/api/threshold/preview?value=nan",
             "/api/threshold/preview", "/api/finds/1?kind=../x"],
)  # fmt: skip
def test_wrong_questions_are_refused_in_one_line(shared_page: LivePage, path: str) -> None:
    answer = shared_page.get(path.replace("²", "%C2%B2"))
    assert (answer.status, answer.text.count("\n")) == (400, 1)


def test_one_viewer_too_many_is_told_so_and_gets_in_when_another_leaves() -> None:
    with LivePage(limits=Limits(viewers=2)) as page:
        page.show(judged())
        first, response = page.open_stream("/api/live")
        second, _ = page.open_stream("/stream.mjpg")
        refused = page.get("/api/live")
        assert (refused.status, refused.headers["retry-after"]) == (503, "10")
        assert refused.text == "There are too many viewers; try again later.\n"
        response.close()
        first.close()
        _until(lambda: page.get("/api/events"), lambda _: page.sink.viewers < 2)
        third, response = page.open_stream("/api/live")
        assert response.status == 200
        second.close()
        third.close()


def test_page_of_a_whole_stream() -> None:
    control, sink = StreamControl(), web_sink("127.0.0.1:0")
    page = LivePage.__new__(LivePage)
    page.sink, page.control = sink, control
    seen: list[object] = []

    def look(_: object) -> None:
        if not seen:
            connection, response = page.open_stream("/api/live")
            seen.append(read_state(response)["progress"]["frames"])
            connection.close()
            page.post("/api/threshold", {"value": 0.25, "by": "Ada"})
        elif control.progress().defective:
            control.stop()

    with FakeEngine() as engine:
        summary = run_stream(
            engine,
            FakeSource(None, interval_s=0.005, is_live=True),
            threshold=9.0,
            sinks=[sink],
            control=control,
            on_progress=look,
        )
    assert seen
    assert control.threshold == 0.25
    assert 0 < summary.defective < summary.frames
