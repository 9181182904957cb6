"""The latency suite on the smallest real bundle."""

import dataclasses
import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.report.results import read_results
from benchmarks.suites import latency, session
from benchmarks.suites.cold_start import parse_status
from benchmarks.suites.record import append_row, read_lines
from benchmarks.suites.session import Candidate, Round, delayed, measure_in_turns
from benchmarks.suites.stability import Settings, is_stable, spread
from benchmarks.suites.stages import FramePath
from benchmarks.suites.yardstick import Yardstick
from edge_ad.bundle import Reference
from edge_ad.prediction import Prediction
from tests.runtime.tiny_bundle import SIZE_HW, tiny_bundle

TINY = Settings(seconds=0.06, runs=24, most_windows=3, rounds=2, warm_up_s=0.0, warm_up_runs=2, quick=True)


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """No round is repeated, whatever the machine that runs the tests is doing."""
    monkeypatch.setattr(session, "is_calm", lambda stolen: True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (3, *SIZE_HW, 3), dtype=np.uint8)
    reference = Reference(images=images, scores=np.ones(3, np.float32), maps=np.ones((3, *SIZE_HW), np.float32))
    return tiny_bundle(tmp_path / "bundle", reference=reference).root


def frame_path(seconds: float) -> FramePath:
    prediction = Prediction(0.1, np.zeros(SIZE_HW, np.float32))

    def infer(images: np.ndarray) -> list[Prediction]:
        time.sleep(seconds)
        return [prediction] * len(images)

    return FramePath(infer, SIZE_HW, 0.5, images=[np.zeros((*SIZE_HW, 3), np.uint8)])


def test_a_row_has_what_a_reader_needs_to_trust_it(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "short", lambda: TINY)
    out = tmp_path / "rows.jsonl"
    command = [str(root), "--backends", "onnxruntime", "--quick", "--no-cold-start", "--batches", "1", "2"]
    assert latency.main([*command, "--threads", "1", "--out", str(out)]) == 0
    first, second = read_results([out]).latency
    assert (first.batch, second.batch, first.session) == (1, 2, second.session)
    figures = first.end_to_end
    assert figures.runs >= 24
    assert first.quantiles_ms[0] == figures.min_ms
    assert first.quantiles_ms[-1] == figures.max_ms  # nothing is clipped
    assert len(first.protocol.windows_ms) == 3
    assert len(first.rounds) == 6
    assert first.protocol.quick
    compute = first.stages["compute"]
    assert compute is not None
    assert compute.p50_ms <= figures.p50_ms
    assert first.stages["h2d"] is None
    assert set(first.absent) == {"capture", "decode", "h2d", "d2h"}
    assert first.throughput is not None
    assert len(first.graph_sha256) == 64
    assert {"processor", "versions", "clocks", "yardstick"} <= first.machine.keys()
    assert first.accuracy is None  # no product was named, and none is made up
    assert first.energy is not None or first.energy_absent


def test_photos_are_timed_from_their_file_on(tmp_path: Path) -> None:
    import cv2

    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))
    frames = FramePath(lambda images: [Prediction(0.9, images[0, ..., 0])], SIZE_HW, 0.5, files=[path])
    assert frames.run()[0].is_anomalous
    assert all(frames.log.durations_ns(stage)[0] > 0 for stage in ("capture", "decode", "prepare", "compute"))
    stages = sum(frames.log.durations_ns(stage)[0] for stage in ("capture", "decode", "prepare", "compute", "finish"))
    assert stages == frames.log.totals_ns()[0]


def test_an_unknown_bundle_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert latency.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_all_candidates_have_the_same_rounds() -> None:
    slow, fast = Candidate(frame_path(0.002)), Candidate(frame_path(0.0005))
    measure_in_turns([slow, fast], Yardstick(), TINY)
    assert len(slow.rounds) == len(fast.rounds) == 6
    assert min(item.p50_ms for item in slow.rounds) >= 2.0
    assert all(item.yardstick_ms > 0 for item in slow.rounds)
    assert slow.runs >= 24


def test_rounds_that_were_stolen_are_kept_and_repeated_while_there_is_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "is_calm", lambda stolen: False)
    patient, hasty = Candidate(frame_path(0.0)), Candidate(frame_path(0.0))
    measure_in_turns([patient], Yardstick(), TINY)
    measure_in_turns([hasty], Yardstick(), dataclasses.replace(TINY, patience_s=0.0))
    assert (len(patient.rounds), len(hasty.rounds)) == (18, 6)  # three times as many at most
    assert len(patient.windows_ms) == len(hasty.windows_ms) == 3


@pytest.mark.parametrize(("run_s", "runs"), [(0.01, 1000), (0.05, 640), (0.5, 240), (0.0, 1000)])
def test_the_patience_leaves_time_for_so_many_runs(run_s: float, runs: int) -> None:
    assert Settings(patience_s=40.0).within_patience(run_s).runs == runs


def test_a_session_has_no_more_runs_than_its_patience_leaves_time_for() -> None:
    slow = Candidate(frame_path(0.002))
    measure_in_turns([slow], Yardstick(), dataclasses.replace(TINY, runs=2400, patience_s=0.7))
    assert 240 <= slow.runs < 600


def test_a_window_is_the_median_of_its_calm_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    turns = [Round(10.0, 3.0, 0.0), Round(90.0, 3.0, 0.4), Round(12.0, 3.0, None)]
    assert session._middle(turns) == 11.0
    assert session._middle(turns[1:2]) == 90.0


def test_an_injected_delay_is_as_long_as_it_says() -> None:
    calls: list[int] = []
    run = delayed(lambda images: calls.append(1) or [], 3.0)
    began = time.perf_counter()
    run(None)
    assert (calls, time.perf_counter() - began >= 0.003) == ([1], True)


@pytest.mark.parametrize(
    ("windows", "stable"),
    [([10, 10], False), ([10, 10.5, 10.9], True), ([20, 10, 10.5, 10.2], True), ([10, 10, 11.2], False)],
)
def test_the_last_three_windows_decide(windows: list[float], stable: bool) -> None:
    assert is_stable(windows) is stable


def test_two_windows_have_no_spread_yet() -> None:
    assert math.isinf(spread([1.0, 1.0]))


def test_memory_is_that_of_the_process() -> None:
    assert parse_status("Name:\tx\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\n") == {"rss_mib": 100.0, "peak_mib": 200.0}
    with pytest.raises(ValueError, match="VmHWM"):
        parse_status("VmRSS: 1 kB")


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_row(path, {"value": 1 / 3})
    with path.open("a") as file:
        file.write('{"value": ')
    assert read_lines(path) == [{"value": 0.333333}]
    path.write_text('{"value": \n' + json.dumps({"value": 1}) + "\n")
    with pytest.raises(ValueError, match="Expecting"):
        read_lines(path)


def test_a_real_engine_that_was_slowed_down_is_told_from_itself(root: Path, tmp_path: Path) -> None:
    from benchmarks.report.comparison import Limits, compare_results
    from edge_ad.bundle import Bundle
    from edge_ad.runtime import open_engine
    from tests.benchmarks.report.rows import latency_row

    bundle = Bundle.open(root)
    images = list(bundle.reference().images)
    with open_engine(bundle, backend="onnxruntime", threads=1) as engine:
        slow = delayed(engine.infer, 1.0)  # the tiny engine takes a fraction of it
        paths = [FramePath(infer, SIZE_HW, 0.5, images=images) for infer in (engine.infer, slow)]
        candidates = [Candidate(path) for path in paths]
        measure_in_turns(candidates, Yardstick(), Settings(0.1, 96, 3, 4, 0.0, 5, quick=True))
    old, new = (latency_row([turn.p50_ms for turn in item.rounds], session="one") for item in candidates)
    (change,) = compare_results([new], [old], Limits()).changes
    assert (change.how, change.verdict) == ("paired", "slower")
    assert new.rounds[0].p50_ms > 1.0


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [(["one"], 240.0), (["one", "two"], 200.0), ([*"abcdefgh"], 50.0), (["one", "--patience", "9"], 9.0)],
)
def test_several_bundles_share_their_patience(arguments: list[str], seconds: float) -> None:
    assert latency.patience_of(latency.parser().parse_args(arguments)) == seconds
