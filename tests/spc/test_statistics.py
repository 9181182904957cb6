"""Statistics of recorded verdicts: what is counted, from which period limits come, and what the report shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.cli import main
from edge_ad.errors import UsageError
from edge_ad.spc import Span, StatisticsRequest, parse_shift, statistics_of
from edge_ad.spc.notes import base_words, warnings_of
from edge_ad.spc.report_process import page_of
from edge_ad.spc.statistics import Statistics
from edge_ad.streaming.frame import Event, RecipeMark
from edge_ad.streaming.records import RecordStore, UnjudgedRow, VerdictRow
from edge_ad.streaming.records.labels import CONFIRMED, CORRECTED, WITHDRAWN
from edge_ad.streaming.records.reader import RecordReader

_DAY = 86400.0
_START = 1_700_006_400.0  # 2023-11-15T00:00Z
_REGION = '[{"x": 80, "y": 2, "width": 10, "height": 6, "area": 40, "peak": 1.5}]'


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Ten days at a frame a minute, 2 % NG; on the last day 10 %, from another bundle in its second half."""
    path, rng = tmp_path / "line.sqlite", np.random.default_rng(0)
    store, rows = RecordStore(path, source="line", ng_images=tmp_path / "ng"), []
    for minute in range(10 * 1440):
        is_ng = minute % 50 == 49 or (minute >= 9 * 1440 and minute % 10 == 9)
        score = 1.5 if is_ng else 0.5 + 0.05 * rng.standard_normal()
        bundle = "b2" if minute >= 9 * 1440 + 800 else "b1"
        image, regions = ("ng.png", _REGION) if is_ng else (None, "")
        row = VerdictRow(
            "line", bundle, minute, _START + 60 * minute, score, 1.0, is_ng, 3.0, 4.5, image, "", "", regions
        )
        rows.append(row)
    store.commit([*rows, UnjudgedRow(_START + 9.5 * _DAY, "line", "black")])
    store.close()
    return path


def _statistics(database: Path, **request: object) -> Statistics:
    with RecordReader(database) as reader:
        return statistics_of(reader, StatisticsRequest(**request))  # type: ignore[arg-type]


def test_the_newest_day_is_held_against_the_seven_days_before_it(database: Path) -> None:
    found = _statistics(database)
    assert (found.frames, found.defective, found.unjudged) == (1440, 144, {"black": 1})
    assert found.base.until_unix == found.period.since_unix
    assert found.base.seconds == 7 * _DAY
    assert found.share_base is not None
    assert found.share_base.centre == pytest.approx(0.02, abs=1e-4)
    assert "the seven days before this period" in base_words(found)
    assert found.share is not None
    assert {signal.rule.number for signal in found.share.signals} >= {4}  # 8 in a row above
    assert found.mean is not None
    assert found.mean_base is not None
    assert found.mean_base.sigma == pytest.approx(0.05, rel=0.02)


def test_scores_are_those_of_one_bundle_and_counts_are_of_all(database: Path) -> None:
    found = _statistics(database)
    assert (found.score_bundle, list(found.bundles)) == ("b1", ["b1", "b2"])
    assert found.subgroups.passed.sum() == 720  # nine of ten of the 800 frames of b1
    assert any("2 bundles judged" in text for text in warnings_of(found))
    other = _statistics(database, bundle="b2")
    assert other.frames == 640
    assert other.share_base is None
    assert other.share is None
    assert any("no records in the base period" in text for text in warnings_of(other))


def test_a_named_base_period_that_overlaps_is_told(database: Path) -> None:
    start = _START + 9 * _DAY
    found = _statistics(
        database, since_unix=start, until_unix=start + _DAY, base_since_unix=start, base_until_unix=start + _DAY
    )
    assert "that was named" in base_words(found)
    assert any("overlaps" in text for text in warnings_of(found))
    with pytest.raises(UsageError, match="a start and an end"):
        _statistics(database, base_since_unix=start)


def test_a_base_without_ng_gives_exact_limits_and_one_of_ng_alone_gives_none(database: Path) -> None:
    quiet = Span(_START + 60 * 50, _START + 60 * 90)
    found = _statistics(database, base_since_unix=quiet.since_unix, base_until_unix=quiet.until_unix, width_s=7200.0)
    assert found.share is not None
    # 120 frames after 40: 0.75, · 119/159 = 0.56, …, with 21 NG 0.00146, with 22 NG 0.00104
    assert found.share.upper == pytest.approx([21 / 120] * 12)
    assert found.share.signals == ()
    assert any("None of 40 frames" in text for text in warnings_of(found))
    assert not any("Over the whole period" in text for text in warnings_of(found))  # 144 of 1440 after 40: 0.0157
    bad = Span(_START + 60 * 49, _START + 60 * 50)
    found = _statistics(database, base_since_unix=bad.since_unix, base_until_unix=bad.until_unix)
    assert found.share is None
    assert any("all were NG" in text for text in warnings_of(found))


@pytest.mark.parametrize(("ng", "is_told"), [(2, False), (3, True)])
def test_ng_that_no_subgroup_shows_are_told_of_the_whole_period(tmp_path: Path, ng: int, is_told: bool) -> None:
    store, scattered = RecordStore(tmp_path / "line.sqlite", source="line"), range(1000, 1100, 40)[:ng]
    rows = [VerdictRow("line", "b1", n, _START + n, 0.5, 1.0, n in scattered, 3.0, 4.5) for n in range(1100)]
    store.commit(rows)
    store.close()
    base = {"base_since_unix": _START, "base_until_unix": _START + 1000}
    found = _statistics(
        tmp_path / "line.sqlite", since_unix=_START + 1000, until_unix=_START + 1100, width_s=20.0, **base
    )
    assert (found.defective, found.share and found.share.signals) == (ng, ())
    told = any(f"{ng} NG in 100 frames come by chance" in text for text in warnings_of(found))
    assert told is is_told  # 0.0082 and 0.00073


def test_shifts_choose_and_are_compared(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    early, late = parse_shift("early=06:00-14:00"), parse_shift("late=14:00-22:00")
    found = _statistics(database, since_unix=_START, until_unix=_START + 2 * _DAY, shifts=(early, late))
    assert found.frames == 2 * 16 * 60
    assert [(each.name, each.frames) for each in found.shifts] == [("early", 960), ("late", 960)]
    assert sum(each.defective for each in found.shifts) == found.defective
    with pytest.raises(UsageError, match="overlap"):
        _statistics(database, shifts=(early, parse_shift("13:00-15:00")))


def test_what_people_said_of_frames_is_counted_by_kind(database: Path) -> None:
    def said(kind: str, minute: int, label: str | None, verdict: str, what: str = "", at: float = 0.0) -> Event:
        data = {"label": label, "verdict": verdict, "kind": what, "frame": minute, "at_unix": _START + 60 * minute}
        return Event(kind, _START + 10 * _DAY + at, "line", data=data)

    store = RecordStore(database, source="line")
    first = 9 * 1440 + 9
    events = [said(CONFIRMED, first + 10 * n, "defect", "NG", "scratch") for n in range(3)]
    events += [said(CORRECTED, first + 30, "good", "NG"), said(CORRECTED, first + 31, "defect", "OK")]
    events += [said(CONFIRMED, first + 40, "defect", "NG", "dent"), said(WITHDRAWN, first + 40, None, "NG", at=1.0)]
    events += [said(CONFIRMED, 49, "defect", "NG", "before the period")]
    store.commit(events)
    store.close()
    found = _statistics(database)
    assert found.kinds == [("scratch", 3), ("false alarm", 1), ("defect, no kind given", 1)]
    assert _statistics(database, bundle="b2").kinds == []
    assert _statistics(database, source="another").kinds == []


@pytest.mark.parametrize("kind", ["master part", "golden check judged"])
def test_master_parts_are_no_production(database: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    def shown(minute: int) -> Event:
        at = _START + 60 * minute
        span = {"source": "line", "since_unix": at, "until_unix": at}
        data = {"at_unix": at, "frames": [span]} if kind == "master part" else {"results": [{"at_unix": at}]}
        return Event(kind, at + 0.2, data=data)

    store = RecordStore(database, source="line")
    store.commit([shown(minute) for minute in (49, 11549, 11550, 12969, 14399)])  # all but 11550 are NG
    store.close()
    found = _statistics(database)
    assert (found.frames, found.defective, found.master_frames) == (1438, 142, (2, 2))
    assert found.pareto == [("middle right", 142)]
    assert found.share_base is not None
    assert found.share_base.centre == 201 / 10078  # of 202 and 10080
    assert _statistics(database, bundle="b1").master_frames == (1, 2)
    page = page_of(database, {})
    assert re.search(r"Master parts.*?2.*?frames, left out; 2 in the base period", page, re.DOTALL)
    capsys.readouterr()
    assert main(["records", "trend", str(database), "--json"]) == 0
    output = capsys.readouterr()
    assert sum(hour["frames"] for hour in json.loads(output.out)["hours"]) == 14395
    assert "5 frames of master parts are left out" in output.err


def test_a_recipe_is_a_filter(database: Path) -> None:
    store = RecordStore(database, source="line")
    at = _START + 10 * _DAY
    rows = [
        VerdictRow("line", "b3", n, at + n, 0.5, 1.0, n == 0, 3.0, 4.5, recipe=RecipeMark("caps", "c" * 64))
        for n in range(9)
    ]
    store.commit(rows)
    store.close()
    assert _statistics(database, recipe="caps").frames == 9
    nothing = _statistics(database, recipe="lids")
    assert nothing.frames == 0
    assert "No records match" in warnings_of(nothing)[0]


def test_without_a_length_subgroups_are_long_enough_for_their_ng(database: Path) -> None:
    found = _statistics(database, since_unix=_START + 8 * _DAY, until_unix=_START + 10 * _DAY)
    # 1.2 NG an hour are expected, five in more than four hours; a subgroup of eight would leave six.
    assert found.width_s == 7200.0
    assert len(found.subgroups) == 24


@pytest.mark.parametrize(("hours", "width_s"), [(1, 60.0), (8, 900.0)])
def test_a_short_period_is_held_against_seven_days_too(hours: int, width_s: float, database: Path) -> None:
    end = _START + 9 * _DAY
    found = _statistics(database, since_unix=end - 3600 * hours, until_unix=end)
    assert (found.width_s, found.frames) == (width_s, 60 * hours)
    assert found.share_base is not None
    assert found.share_base.subgroups == 7 * _DAY / width_s


def test_places_are_counted_on_the_frame_as_its_picture_says(database: Path, tmp_path: Path) -> None:
    found = _statistics(database)
    assert found.pareto == [("middle right", 144)]  # nobody knows where the frame ends
    (tmp_path / "ng").mkdir()
    cv2.imwrite(str(tmp_path / "ng" / "ng.png"), np.zeros((60, 120, 3), np.uint8))
    found = _statistics(database)
    assert found.pareto == [("top right", 144)]
    (places,) = found.maps
    assert (places.size_wh, places.counts.shape, places.counts.max()) == ((120, 60), (24, 48), 144)
    rows, columns = np.nonzero(places.counts)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 3, 32, 35)  # 2.5 pixels to a cell


def test_the_report_is_a_page_a_pdf_or_numbers(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["records", "report", str(database), "--rules", "nelson", "--shift", "<b>=00:00-12:00"]
    assert main([*command, "--out", str(tmp_path / "day.html")]) == 0
    page = (tmp_path / "day.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 5  # three control charts, places, map
    assert "&lt;b&gt;" in page
    assert re.search(r"<script|https?://(?!www\.w3\.org)", page) is None
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["frames"], data["ng"]) == (720, 72)
    assert len(data["charts"]["ng_share"]["values"]) == len(data["subgroups"])
    assert main([*command, "--out", str(tmp_path / "day.docx")]) == 2


def test_a_pdf_has_the_charts(database: Path, tmp_path: Path) -> None:
    try:
        import weasyprint  # noqa: F401 - it loads libraries of the system
    except (ImportError, OSError) as error:
        pytest.skip(f"the extra pdf, or Pango, is not installed: {error}")
    assert main(["records", "report", str(database), "--out", str(tmp_path / "day.pdf")]) == 0
    content = (tmp_path / "day.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    assert len(content) > 20_000


def test_length_of_subgroups_that_is_proposed_is_long_enough(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["records", "report", str(database), "--since", "1970-01-01", "--until", "2100-01-01", "--subgroup"]
    assert main([*asked, "15m"]) == 2
    proposed = capsys.readouterr().err.rpartition("--subgroup ")[2].strip(".\n")
    assert main([*asked, proposed]) == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--since", "2023-11-20", "--until", "2023-11-19"], "ends before it starts"),
        (["--since", "2030-01-01"], "holds no verdicts of that time: the newest is of 20"),
        (["--min-score", "0.5"], "has no effect on a report"),
        (["--subgroup", "5s"], "is no span of time"),
        (["--since", "2023-11-15", "--subgroup", "1m"], "A period of 10"),
        (["--base-since", "2003-11-15", "--base-until", "2023-11-15", "--subgroup", "15m"], "A base period of 7.3"),
    ],
)
def test_what_cannot_be_reported_is_one_line(
    options: list[str], told: str, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["records", "report", str(database), *options]) == 2
    assert told in capsys.readouterr().err.splitlines()[0]


def test_the_fields_of_the_form_give_the_same_records_again(database: Path) -> None:
    store = RecordStore(database, source="line")
    late = [VerdictRow("line", "b2", n, _START + 10 * _DAY + n, 0.5, 1.0, False, 3.0, 4.5) for n in (5, 15, 25)]
    store.commit(late)
    store.close()

    def shown(fields: dict[str, str]) -> tuple[str, dict[str, str]]:
        page = page_of(database, fields)
        (frames,) = re.findall(r"Frames judged.*?([\d\u202f]{3,})", page, re.DOTALL)[:1]
        return frames, dict(re.findall(r'name="(since|until)"[^>]*value="([^"]*)"', page))

    frames, fields = shown({})
    assert shown(fields) == (frames, fields)
