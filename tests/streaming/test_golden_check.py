"""Golden check: master parts are asked for, judged as recorded or the line is stopped, and who signed is told."""

from __future__ import annotations

import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from edge_ad.errors import UsageError
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.filters import FilterOptions
from edge_ad.streaming.frame import NO_RECIPE, Event, RecipeMark, Result
from edge_ad.streaming.golden import GoldenCheck, GoldenPlan, GoldenState
from edge_ad.streaming.golden.history import failed_checks
from edge_ad.streaming.golden.master_frames import master_frames
from edge_ad.streaming.golden.observer import GoldenObserver
from edge_ad.streaming.golden.state import MASTER_PART, FrameSpan, Judged
from edge_ad.streaming.records.reader import RecordReader
from edge_ad.streaming.records.store import RecordStore, Row, VerdictRow
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.triggers.base import AskedTrigger
from edge_ad.streaming.verdicts import PartObserver, PartRule, observers_from_options
from tests.streaming.fakes import FakeEngine, FakeSource, ListSink
from tests.streaming.results import make_result, wait_until

_PARTS = [{"id": "M1", "expect": "OK"}, {"id": "M2", "expect": "NG", "note": "scratch"}]


def _plan(**changes: Any) -> GoldenPlan:
    return GoldenPlan.model_validate({"every": "8h", "within": "15min", "parts": _PARTS, **changes})


class _Check:
    """A golden check with a clock that a test moves, and the events it gave."""

    def __init__(self, plan: GoldenPlan, recipe: RecipeMark = NO_RECIPE) -> None:
        self.now, self.events, self.recipe, self.threshold = 0.0, list[Event](), recipe, 1.0
        self.golden = GoldenCheck(lambda: self.now)
        self.golden.use(plan, recipe, 1.0)
        self.look()

    def look(self, threshold: float = 1.0, bundle: str = "") -> list[str]:
        self.threshold = threshold
        found = self.golden.look(self.recipe, threshold, bundle)
        self.events += found
        kinds = [event.kind.removeprefix("golden check ") for event in found]
        return [kind for kind in kinds if kind != "judged"]

    def show(self, part: str, verdict: str, recipe: RecipeMark = NO_RECIPE) -> list[str]:
        judged = Judged(part, "", verdict, 0.5, self.threshold, "b1", 7.0, recipe_hash=recipe.hash)
        self.golden.judged(judged)
        return self.look(self.threshold)


def test_masters_judged_as_recorded_and_signed_hold_until_the_next_check() -> None:
    check = _Check(_plan())
    assert [event.kind for event in check.events] == ["golden check due"]
    assert check.show("4711", "OK") == []  # a part of the production
    assert check.show("M1", "OK") == ["begun"]
    assert check.show("M2", "NG") == []
    assert check.golden.state is GoldenState.UNSIGNED
    check.golden.sign("Ada (operator)")
    assert check.look() == ["passed"]
    data = check.events[-1].data
    assert (data["by"], [(one["part"], one["verdict"], one["right"]) for one in data["results"]]) == (
        "Ada (operator)",
        [("M1", "OK", True), ("M2", "NG", True)],
    )
    check.now = 8 * 3600 - 1.0
    assert check.look() == []
    check.now = 8 * 3600 + 1.0
    assert check.look() == ["due"]
    assert "every 8 h" in check.events[-1].text


@pytest.mark.parametrize(("on_failure", "blocks"), [("stop", True), ("flag", False)])
def test_wrong_verdict_fails_the_check_and_stops_the_line_where_asked(on_failure: str, blocks: bool) -> None:
    check = _Check(_plan(**{"on-failure": on_failure}))
    check.show("M2", "OK")
    assert check.show("M1", "OK") == ["failed"]
    assert "M2 was OK, not NG" in check.events[-1].text
    assert check.golden.is_blocking is blocks
    assert check.golden.lets_pass("4711") is not blocks
    assert check.golden.lets_pass("M2")
    assert [check.show("M1", "OK"), check.show("M2", "NG")] == [["begun"], []]  # once more, and right
    assert check.golden.is_blocking is blocks  # until somebody signs
    check.golden.sign("Ada")
    assert (check.golden.state, check.golden.is_blocking) == (GoldenState.VALID, False)


def test_stopped_line_judges_only_the_master_part_that_a_person_shows() -> None:
    check = _Check(_plan(identify="operator", sign=False))
    check.now = 15 * 60 + 1.0
    assert check.look() == ["failed"]
    check.golden.begin("Ada")
    assert not check.golden.lets_pass("")
    for part, verdict in (("M1", "OK"), ("M2", "NG")):
        check.golden.name_next(part, "Ada")
        assert check.golden.lets_pass("")
        check.show("", verdict)
    assert (check.golden.state, check.golden.lets_pass("")) == (GoldenState.VALID, True)


def test_check_that_is_not_done_in_time_fails_and_can_be_waived_with_a_reason() -> None:
    check = _Check(_plan())
    check.now = 15 * 60 + 1.0
    assert check.look() == ["failed"]
    assert check.golden.state is GoldenState.OVERDUE
    with pytest.raises(UsageError, match="reason"):
        check.golden.waive("Ella", " ")
    check.golden.waive("Ella", "master parts are at the laboratory")
    assert check.look() == ["waived"]
    assert (check.events[-1].data["by"], check.golden.is_blocking) == ("Ella", False)


def test_unsigned_check_is_not_done() -> None:
    check = _Check(_plan())
    check.show("M1", "OK")
    check.show("M2", "NG")
    check.now = 15 * 60 + 1.0
    assert check.look() == ["failed"]
    with pytest.raises(UsageError, match="sign"):
        check.golden.sign("Ada")


def test_by_order_and_by_operator_a_person_begins_and_says_which() -> None:
    check = _Check(_plan(identify="order", sign=False))
    assert check.show("", "OK") == []  # nobody has begun
    check.golden.begin("Ada")
    assert [check.look(), check.show("", "OK"), check.show("", "NG")] == [["begun"], [], ["passed"]]
    assert check.events[-1].data["by"] == "Ada"
    check = _Check(_plan(identify="operator", sign=False))
    check.golden.begin("Ada")
    with pytest.raises(UsageError, match="no master part M9"):
        check.golden.name_next("M9", "Ada")
    check.golden.name_next("M2", "Ada")
    check.show("", "NG")
    assert check.show("", "OK") == []  # not named: a part of the production
    check.golden.name_next("M1", "Ada")
    assert check.show("", "OK") == ["passed"]


def test_a_line_that_a_failed_check_stopped_is_not_freed_by_selecting_its_recipe_again() -> None:
    plan, recipe = _plan(**{"on-failure": "stop"}), RecipeMark("a", "1" * 64)
    check = _Check(plan, recipe)
    check.show("M1", "NG", recipe)
    assert check.show("M2", "NG", recipe) == ["failed"]
    check.golden.use(None, RecipeMark("b", "2" * 64), 1.0)
    assert check.golden.lets_pass("4711")
    check.golden.use(plan, recipe, 1.0)
    assert (check.golden.state, check.golden.lets_pass("4711")) == (GoldenState.FAILED, False)
    check.golden.waive("Ada (engineer)", "the part is worn")
    check.golden.use(plan, recipe, 1.0)
    assert (check.golden.state, check.golden.lets_pass("4711")) == (GoldenState.VALID, True)


def test_wrong_verdict_is_not_undone_by_showing_the_part_again_or_by_beginning_again() -> None:
    check = _Check(_plan())
    check.show("M2", "OK")
    check.show("M2", "NG")
    assert check.show("M1", "OK") == ["failed"]
    check = _Check(_plan())
    check.show("M2", "OK")
    check.golden.begin("Ada")
    assert check.look() == ["failed", "begun"]
    assert not check.golden.lets_pass("4711")


def test_master_part_that_is_judged_wrongly_after_the_check_fails_it() -> None:
    check = _Check(_plan())
    check.show("M1", "OK")
    check.show("M2", "NG")
    assert check.show("M2", "OK") == ["failed"]  # before it was signed
    with pytest.raises(UsageError, match="sign"):
        check.golden.sign("Ada")
    check = _Check(_plan(sign=False))
    check.show("M1", "OK")
    assert check.show("M2", "NG") == ["passed"]
    assert check.show("M1", "OK") == []
    assert check.show("M2", "OK") == ["failed"]
    assert not check.golden.lets_pass("4711")


def test_selecting_a_recipe_again_gives_an_open_check_no_more_time_and_no_other_verdict() -> None:
    one, other = RecipeMark("one", "1" * 64), RecipeMark("other", "2" * 64)
    check = _Check(_plan(), one)
    check.now = 10 * 60.0
    check.golden.use(None, other, 1.0)
    check.now = 60 * 60.0  # time under another recipe does not count
    check.golden.use(_plan(), one, 1.0)
    assert check.look() == ["due"]
    assert check.golden.facts()["due_s"] == pytest.approx(5 * 60)
    check.golden.use(_plan(), one, 1.0)
    check.now += 5 * 60 + 1.0
    assert check.look()[-1] == "failed"
    check = _Check(_plan(), one)
    check.show("M2", "OK", one)
    check.golden.use(None, other, 1.0)
    check.golden.use(_plan(), one, 1.0)
    assert (check.golden.state, check.look()) == (GoldenState.FAILED, ["failed", "due"])


def test_another_bundle_with_the_same_threshold_asks_again() -> None:
    check = _Check(_plan(sign=False))
    check.show("M1", "OK")
    assert check.show("M2", "NG") == ["passed"]
    assert check.look(bundle="b2") == ["due"]
    assert "another bundle" in check.events[-1].text
    recipe = RecipeMark("one", "1" * 64)
    check = _Check(_plan(sign=False), recipe)
    check.show("M1", "OK", recipe)
    assert check.show("M2", "NG", recipe) == ["passed"]
    check.golden.use(_plan(sign=False), recipe, 1.0, "b2")
    assert check.look(bundle="b2") == ["due"]


@pytest.mark.parametrize(("threshold", "bundle"), [(2.0, "b2"), (1.0, "b2"), (2.0, "b1")])
def test_verdict_of_the_detector_before_does_not_count_for_the_one_in_use(threshold: float, bundle: str) -> None:
    check = _Check(_plan(), NO_RECIPE)
    assert check.look(2.0, "b1") == []
    assert check.look(2.0, "b2") == []
    check.golden.judged(Judged("M1", "", "OK", 0.5, threshold, bundle, 7.0))
    counts = (threshold, bundle) == (2.0, "b2")
    assert check.golden.state is (GoldenState.UNDER_WAY if counts else GoldenState.DUE)


def test_part_of_the_production_is_not_taken_for_a_master_part_that_was_never_shown() -> None:
    check = _Check(_plan(identify="operator"))
    check.golden.begin("Ada")
    check.golden.name_next("M1", "Ada")
    check.now = 15 * 60 + 1.0
    assert check.look() == ["begun", "failed"]
    assert not check.golden.lets_pass("")
    assert check.show("", "OK") == []


@pytest.mark.parametrize(("ends", "is_stopped"), [([], True), (["sign"], False), (["waive"], False)])
def test_a_stream_that_is_started_again_finds_in_its_records_that_the_line_is_stopped(
    tmp_path: Path, ends: list[str], is_stopped: bool
) -> None:
    database, recipe = tmp_path / "line.sqlite", RecipeMark("a", "1" * 64)
    assert failed_checks(database) == {}
    check = _Check(_plan(), recipe)
    check.now = 15 * 60 + 1.0
    assert check.look() == ["failed"]
    if "sign" in ends:
        check.show("M1", "OK", recipe)
        check.show("M2", "NG", recipe)
        check.golden.sign("Ada")
    elif "waive" in ends:
        check.golden.waive("Ella", "worn")
    check.look()
    store = RecordStore(database, source="line")
    store.commit(check.events)
    store.close()
    assert failed_checks(database) == ({recipe: GoldenState.OVERDUE} if is_stopped else {})
    golden = GoldenCheck()
    golden.remember(failed_checks(database))
    golden.use(_plan(), recipe, 1.0)
    assert golden.lets_pass("4711") is not is_stopped
    assert [event.kind for event in golden.look(recipe, 1.0)] == ["golden check due"]
    golden.use(_plan(), RecipeMark("b", "2" * 64), 1.0)
    assert golden.lets_pass("4711")


def test_frames_of_a_master_part_that_nothing_asks_for_or_another_bundle_judged_are_told() -> None:
    check = _Check(_plan(sign=False))
    check.show("M1", "OK")
    assert check.show("M2", "NG") == ["passed"]
    frames = [FrameSpan("left", 7.0, 7.0), FrameSpan("right", 7.1, 7.3)]
    for verdict, bundle in (("OK", "b1"), ("OK", "b0"), ("NG", "b1")):
        check.look(bundle="b1")
        check.golden.judged(Judged("M1", "", verdict, 0.5, 1.0, bundle, 7.0), frames)
    check.golden.judged(Judged("4711", "", "OK", 0.5, 1.0, "b1", 8.0), [FrameSpan("left", 8.0, 8.0)])
    check.look(bundle="b1")
    told = [event.data["frames"] for event in check.events if event.kind == MASTER_PART]
    assert told == [[asdict(span) for span in frames]] * 3


def test_records_tell_the_frames_of_master_parts_from_those_of_the_production(tmp_path: Path) -> None:
    rule, control = PartObserver(PartRule.parse("1/4:id"), watch_drift=False), StreamControl(1.0)
    control.golden.use(_plan(), NO_RECIPE, 1.0)
    observer = GoldenObserver([rule], control.golden, has_parts=True)
    order = [("4710", "right"), ("M1", "left"), ("4712", "left"), ("M1", "left"), ("4710", "right"), ("4712", "left")]
    order += [("M1", "right"), ("M1", "right")]
    rows: list[Row] = []
    for index, (part, source) in enumerate(order):
        result = make_result(index, 0.5, unix=100.0 + index, source=source, part=part)
        rows += [VerdictRow(source, "b", index, 100.0 + index, 0.5, 1.0, False, 1.0, 1.0), *observer.see(result)]
    store = RecordStore(tmp_path / "line.sqlite", source="line")
    store.commit([*rows, *control.golden.look(NO_RECIPE, 1.0)])
    store.close()
    with RecordReader(tmp_path / "line.sqlite") as reader:
        assert [order[number - 1][0] for _, number in master_frames(reader)] == ["M1"] * 4


@pytest.mark.parametrize("shown", [["M1"], ["M1", "M2"]])
def test_master_parts_judged_with_another_threshold_are_shown_again_in_the_same_time(shown: list[str]) -> None:
    check = _Check(_plan())
    for part in shown:
        check.show(part, "OK" if part == "M1" else "NG")
    assert check.look(threshold=2.0) == ["due"]
    assert check.golden.state is GoldenState.DUE
    assert [part["verdict"] for part in check.golden.facts()["parts"]] == [None, None]
    check.now = 15 * 60 + 1.0
    assert check.look(threshold=2.0) == ["failed"]


def test_another_recipe_and_another_threshold_ask_again_and_a_valid_check_is_kept() -> None:
    one, other = RecipeMark("one", "1" * 64), RecipeMark("other", "2" * 64)
    check = _Check(_plan(sign=False), one)
    assert check.show("M1", "OK", other) == []  # captured under another recipe
    check.show("M1", "OK", one)
    assert check.show("M2", "NG", one) == ["passed"]
    check.golden.use(_plan(), other, 2.0)
    assert check.look() == ["due"]
    check.golden.use(_plan(), one, 1.0)
    check.recipe = other  # the stream has not switched yet, and has the threshold of before
    assert (check.look(2.0), check.golden.state) == ([], GoldenState.VALID)
    check.recipe = one
    assert (check.look(), check.golden.state) == ([], GoldenState.VALID)
    assert check.look(0.9) == ["due"]
    check.golden.use(None, other, 1.0)
    assert check.golden.state is GoldenState.NONE


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"every": "8"}, "every"),
        ({"every": "0h"}, "every"),
        ({"parts": _PARTS[:1]}, "parts"),
        ({"parts": [_PARTS[0], {"id": "M2", "expect": "OK"}]}, ""),
        ({"parts": [_PARTS[0], {"id": "M1", "expect": "NG"}]}, ""),
        ({"on-failure": "ignore"}, "on-failure"),
        ({"partz": 1}, "partz"),
    ],
)
def test_plan_that_would_show_nothing_is_refused(changes: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        _plan(**changes)
    assert ".".join(map(str, refused.value.errors()[0]["loc"])) == field


class _Line(FakeSource):
    """Shows a part, bright where it is bad; a part is asked for once the camera sees it."""

    def __init__(self) -> None:
        super().__init__(None, is_live=True, interval_s=0.002)
        self.is_bad = False

    def read(self) -> NDArray[np.uint8] | None:
        image = super().read()
        return image if image is None else np.full_like(image, 200 if self.is_bad else 60)


@pytest.mark.parametrize("part", [None, "1/1:id"])
def test_failed_check_stops_a_stream_for_all_but_master_parts(part: str | None) -> None:
    masters = [{"id": "good 1", "expect": "OK"}, {"id": "bad 1", "expect": "NG"}, {"id": "bad 2", "expect": "OK"}]
    control, trigger, sink, line = StreamControl(1.0), AskedTrigger(), ListSink(), _Line()
    control.golden.use(_plan(parts=masters), NO_RECIPE, 1.0)
    told = list[tuple[str, str]]()

    def steer() -> None:
        try:
            for one in ("4711", "good 1", "bad 1", "bad 2", "4712", "good 1"):
                line.is_bad, before = one.startswith("bad"), line.reads
                wait_until(lambda: line.reads > before + 2)  # noqa: B023
                count = len(told)
                assert trigger.ask(one)
                wait_until(lambda: len(told) > count)  # noqa: B023
        finally:
            control.stop()

    class _Told(ListSink):
        def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
            told.append((result.frame.part, result.reason or ["OK", "NG"][result.is_defective]))

    steering = threading.Thread(target=steer)
    steering.start()
    with FakeEngine() as engine:
        run_stream(
            engine,
            line,
            threshold=1.0,
            sinks=[sink, _Told()],
            observers=[GoldenObserver(observers_from_options(part=part), control.golden, has_parts=part is not None)],
            control=control,
            filters=FilterOptions(trigger=trigger),
        )
    steering.join()
    assert told == [
        ("4711", "OK"),
        ("good 1", "OK"),
        ("bad 1", "NG"),
        ("bad 2", "NG"),
        ("4712", "golden check"),
        ("good 1", "OK"),
    ]
    kinds = [event.kind.removeprefix("golden check ") for event in sink.events if "golden" in event.kind]
    assert kinds == ["due", "begun", *["judged"] * 3, "failed", "begun", "judged"]
    assert control.golden.state is GoldenState.UNDER_WAY
    shown = [event.data for event in sink.events if event.kind == MASTER_PART]
    times = [result.frame.captured_unix for result in sink.results if not result.frame.part.startswith("47")]
    assert [data["part"] for data in shown] == ["good 1", "bad 1", "bad 2", "good 1"]
    assert [[(one["since_unix"], one["until_unix"]) for one in data["frames"]] for data in shown] == [
        [(at, at)] for at in times
    ]
