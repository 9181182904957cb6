"""Scaling, peers and the accuracy suite, as far as they need no training."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.report.rows import PeersRow
from benchmarks.suites import accuracy_suite, anomalib_peer, detection
from benchmarks.suites.benchmark_app import benchmark_app, parse_benchmark_app
from benchmarks.suites.peers import OURS, peers_row
from benchmarks.suites.power_law import fit_power_law
from benchmarks.suites.published import PUBLISHED, published_columns
from benchmarks.suites.record import append_row, read_lines
from benchmarks.suites.row_cells import measure_missing
from benchmarks.suites.scaling import in_rounds
from benchmarks.suites.stability import Settings
from benchmarks.suites.steal import StealClock, is_calm, parse_stat
from benchmarks.suites.ways import Block, Turns, in_turns, timed
from edge_ad.bundle import Reference
from edge_ad.errors import UsageError
from edge_ad.evaluation.latency import read_frames
from edge_ad.runtime import open_engine
from tests.runtime.tiny_bundle import SIZE_HW, tiny_bundle

BENCHMARK_APP = """[Step 11/11] Dumping statistics report
[ INFO ] Execution Devices:['CPU']
[ INFO ] Count:            31 iterations
[ INFO ] Duration:         1004.10 ms
[ INFO ] Latency:
[ INFO ]    Median:        31.47 ms
[ INFO ]    Average:       32.16 ms
[ INFO ] Throughput:   30.87 FPS
"""


def test_an_exact_power_law_is_found() -> None:
    law = fit_power_law([(size, 3.0 * size**1.7) for size in (1, 2, 5, 9)])
    assert law.exponent == pytest.approx(1.7)
    assert law.factor == pytest.approx(3.0)
    assert law.high - law.low < 1e-6


def test_the_interval_holds_the_true_exponent() -> None:
    rng = np.random.default_rng(3)
    sizes = (128, 192, 256, 384, 512)
    inside = 0
    for _ in range(300):
        law = fit_power_law([(size, size**2.0 * rng.lognormal(0, 0.05)) for size in sizes])
        inside += law.low <= 2.0 <= law.high
    assert 0.91 <= inside / 300 <= 0.99


@pytest.mark.parametrize("points", [[(1, 1), (2, 2)], [(1, 1), (1, 2), (1, 3)], [(1, 1), (2, 0), (3, 3)]])
def test_points_that_make_no_line_are_refused(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="three points"):
        fit_power_law(points)


def test_sizes_take_turns() -> None:
    calls: list[int] = []
    ways = {1.0: lambda: calls.append(1), 2.0: lambda: calls.append(2)}
    points = in_rounds(ways, rounds=2, seconds=0.0)
    assert [size for size, _ in points] == [1.0, 2.0]
    blocks = [call for call, before in zip(calls, [0, *calls], strict=False) if call != before]
    assert blocks == [1, 2, 1, 2, 1, 2]


def test_the_median_of_benchmark_app_is_read() -> None:
    assert parse_benchmark_app(BENCHMARK_APP) == Block(31.47, 31)
    assert parse_benchmark_app(BENCHMARK_APP.replace("31.47 ms", "314.70 us")).p50_ms == pytest.approx(0.3147)
    with pytest.raises(ValueError, match="no such model"):
        parse_benchmark_app("[ ERROR ] no such model")


def turns(ours: list[float], other: list[float], stolen: list[float | None]) -> Turns:
    blocks = {OURS: ours, "other": other}
    return Turns({name: [Block(value, 2) for value in values] for name, values in blocks.items()}, stolen)


def test_ratios_are_those_of_the_same_round() -> None:
    found = turns([10.0, 20.0, 10.0], [20.0, 40.0, 30.0], [None, None, None])
    row = PeersRow.model_validate(
        {**peers_row("engine", found, {"other": "a note"}), "bundle": "b", "product": "p", "machine": {}}
    )
    ours, other = row.sides
    assert ours.ratio_per_round == [1.0, 1.0, 1.0]
    assert (other.ratio, other.ratio_per_round, other.runs, other.note) == (2.0, [2.0, 2.0, 3.0], 6, "a note")


def test_a_round_whose_time_was_stolen_does_not_count_unless_all_were() -> None:
    row = peers_row("engine", turns([10.0, 10.0, 10.0], [11.0, 90.0, 12.0], [0.0, 0.3, 0.01]), {})
    assert row["sides"][1]["ratio_per_round"] == [1.1, 1.2]
    assert (row["rounds"], row["calm_rounds"], row["stolen_per_round"]) == (3, 2, [0.0, 0.3, 0.01])
    assert len(peers_row("engine", turns([10.0], [90.0], [0.3]), {})["sides"][1]["ratio_per_round"]) == 1


def test_who_begins_changes_from_round_to_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.suites.ways.is_calm", lambda share: True)
    calls: list[str] = []
    ways = {name: lambda seconds, name=name: calls.append(name) or Block(1.0, 1) for name in "abc"}
    assert len(in_turns(ways, rounds=3, seconds=1.0).stolen) == 3
    assert "".join(calls) == "abcbcacab"
    assert timed(lambda: None)(0.0).runs == 3


def test_rounds_are_repeated_until_enough_are_calm_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.suites.ways.is_calm", lambda share: False)
    assert len(in_turns({OURS: lambda seconds: Block(1.0, 1)}, rounds=3, seconds=0.0).stolen) == 6


def test_stolen_time_is_the_share_since_the_last_lap() -> None:
    texts = iter(["cpu 10 0 10 70 0 0 0 10 0 0\ncpu0 1 1 1 1 1 1 1 1\n", "cpu 20 0 20 130 0 0 0 30 9 9\n", "nothing"])
    clock = StealClock(lambda: next(texts))
    assert clock.lap() == pytest.approx(0.2)
    assert clock.lap() is None
    assert (is_calm(None), is_calm(0.03), is_calm(0.04)) == (True, True, False)
    with pytest.raises(ValueError, match="all CPUs"):
        parse_stat("intr 1 2 3")


def test_frames_settings_and_graph_reach_benchmark_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def run(command: list[str], **named: object) -> subprocess.CompletedProcess[str]:
        seen.append(command)
        return subprocess.CompletedProcess(command, 0, BENCHMARK_APP, "")

    bundle, folder = tiny_bundle(tmp_path / "bundle"), tmp_path / "app"
    folder.mkdir()
    way = benchmark_app(bundle.graph_path("fp32"), [np.zeros((1, *SIZE_HW, 3), np.uint8)] * 2, 3, folder)
    monkeypatch.setattr(subprocess, "run", run)
    assert way(2.4) == Block(31.47, 31)
    command = seen[0]
    assert command[command.index("-t") + 1] == "2"
    settings = json.loads((folder / "settings.json").read_text())["CPU"]
    assert settings == {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": 3,
    }
    assert len(list((folder / "frames").glob("*.npy"))) == 2
    assert (folder / "graph.xml").is_file()


def test_anomalib_models_are_timed_by_a_process_that_waits_for_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timer = tmp_path / "timer.py"
    timer.write_text(
        "import sys\n"
        "if 'broken' in sys.argv[1]: sys.exit('no such layer')\n"
        "print('a library says hello'); print('ready', flush=True)\n"
        'for line in sys.stdin: print(\'{"p50_ms": %s, "runs": 4, "cpu_ms": 0.5}\' % line.strip(), flush=True)\n'
    )
    monkeypatch.setattr(anomalib_peer, "_TIMER", timer)
    models, work = tmp_path / "models", tmp_path / "work"
    models.mkdir()
    work.mkdir()
    for name in ("STFPM.xml", "broken.xml"):
        (models / name).touch()
    (models / "failed.json").write_text('{"DRAEM": "not exported"}')
    fitted = tmp_path / "fitted"
    fitted.mkdir()
    (fitted / "PaDiM-Lite0.xml").touch()
    images = [np.zeros((4, 4, 3), np.uint8)]
    folders = [models, fitted]
    with anomalib_peer.anomalib_ways(Path(sys.executable), folders, images, 1, work) as (ways, notes, missing):
        assert ways["anomalib STFPM"](0.5) == Block(0.5, 4, 0.5)
        assert ways["anomalib STFPM"](0.25) == Block(0.25, 4, 0.5)
        assert ways["anomalib PaDiM-Lite0"](0.5) == Block(0.5, 4, 0.5)
    assert missing == {"anomalib DRAEM": "not exported", "anomalib broken": "no such layer"}
    assert ["Random weights" in notes[f"anomalib {name}"] for name in ("STFPM", "PaDiM-Lite0")] == [True, False]


def test_a_real_delay_is_flagged_and_the_same_engine_is_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (3, *SIZE_HW, 3), dtype=np.uint8)
    reference = Reference(images=images, scores=np.ones(3, np.float32), maps=np.ones((3, *SIZE_HW), np.float32))
    bundle = tiny_bundle(tmp_path / "bundle", reference=reference)
    settings = Settings(0.1, 96, 3, 4, 0.0, 5, quick=True)
    with open_engine(bundle, backend="onnxruntime", threads=1) as engine:
        rows = detection.session_rows(bundle, engine, read_frames(bundle, None), delay=9.0, settings=settings)
    found = detection.repetition(rows, rows)
    assert found["paired"]["delay"]["flagged"]
    assert found["paired"]["delay"]["ratio"] > 3
    assert found["paired"]["noise"]["how"] == "paired"
    assert detection.repetition(rows, None).keys() == {"paired"}


def row(**changes: object) -> dict[str, object]:
    figures = {"image_auroc": 0.9, "pixel_auroc": 0.8, "pixel_ap": 0.5, "pro": 0.7, "seconds": 3.0, "cpu_seconds": 5.5}
    return {"product": "plate", "size": 256, "seed": 0, "share": 1.0, "method": "fader", **figures, **changes}


def chosen_rows(tmp_path: Path, *more: str) -> argparse.Namespace:
    data, out = ["--data", str(tmp_path / "plate")], ["--out", str(tmp_path / "rows.jsonl")]
    return accuracy_suite.parser().parse_args([*data, *out, "--seeds", "0", "1", "--methods", "fader", "ear", *more])


def test_the_suite_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = chosen_rows(tmp_path, "--workers", "0")
    for each in (row(), row(method="ear", seed=1), row(method="ear", size=128)):
        append_row(chosen.out, each)
    measured: list[tuple[str, int]] = []

    def measure(method: str, data: Path, size: int, seed: int, runs: None, *, protocol: str) -> dict[str, object]:
        measured.append((method, seed))
        return row(method=method, seed=seed, size=size)

    monkeypatch.setattr(accuracy_suite, "measure", measure)
    assert measure_missing(accuracy_suite.cells_of(chosen), ("product", "size", "seed", "method"), chosen) == 0
    assert measured == [("ear", 0), ("fader", 1)]
    assert [(each["method"], each["seed"]) for each in read_lines(chosen.out)[3:]] == measured
    assert measure_missing(accuracy_suite.cells_of(chosen), ("product", "size", "seed", "method"), chosen) == 0
    assert len(measured) == 2
    assert not chosen.out.with_suffix(".cells").exists()


def test_a_training_that_fails_is_counted_and_leaves_no_row(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    (tmp_path / "empty").mkdir()
    out = tmp_path / "rows.jsonl"
    assert accuracy_suite.main(["--data", str(tmp_path / "empty"), "--methods", "none", "--out", str(out)]) == 1
    err = capfd.readouterr().err
    assert "error: empty size 256 seed 0 share 1.0 none:" in err
    assert "No images of good parts" in err
    assert not out.exists()


def test_published_figures_have_their_own_columns_and_their_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(), row(seed=1, image_auroc=0.92), row(method="patch-gaussian"), row(method="pbas:degree=0.1")]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in rows))
    accuracy_suite.main(["--show", str(path)])
    header, _, fader, gaussian, pbas, _, note = capsys.readouterr().out.splitlines()
    assert "dilates predictions by 5×5" in note
    assert header.endswith("published, I / P / PRO in % (other data, backbone and protocol) | source |")
    assert "| 0.910 ± 0.014 |" in fader
    assert fader.endswith("| MVTec AD 96.4 / 93.8 / –; VisA 96.0 / – / – | FADeR paper, tables 1 to 5 |")
    assert gaussian.endswith("| – | – |")
    assert "MPDD 97.7 / 98.8 / 97.1" in pbas


def test_every_published_figure_is_a_percentage_with_a_source() -> None:
    for entries in PUBLISHED.values():
        for entry in entries:
            assert entry.source
            assert all(50 < value <= 100 for value in (entry.image_auroc, entry.pixel_auroc, entry.pro) if value)
    assert len(published_columns(["x"])[1][0]) == 2


def test_a_method_may_have_parameters() -> None:
    assert accuracy_suite.split_method("pbas:degree=0.1,refine=false") == ("pbas", {"degree": "0.1", "refine": "false"})
    assert accuracy_suite.split_method("ear") == ("ear", {})
    assert accuracy_suite.split_method("pbas:levels=4,8,degree=1") == ("pbas", {"levels": "4,8", "degree": "1"})
    with pytest.raises(UsageError, match="gives 4 no value"):
        accuracy_suite.split_method("pbas:4,8")


def test_runs_of_one_method_with_other_parameters_are_other_runs() -> None:
    assert accuracy_suite.run_name("screw", "draem:textures=../photos,steps=600", 1) == "screw-draem-steps600-1"
    assert accuracy_suite.run_name("screw", "ear", 0) == "screw-ear-0"
