"""Scaling, peers and the accuracy suite, as far as they need no training."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.suites import accuracy_suite
from benchmarks.suites.peers import OURS, in_turns, parse_benchmark_app, peers_row, timed
from benchmarks.suites.power_law import fit_power_law
from benchmarks.suites.published import PUBLISHED, published_columns
from benchmarks.suites.scaling import in_rounds
from edge_ad.report.rows import PeersRow

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
    assert parse_benchmark_app(BENCHMARK_APP) == 31.47
    with pytest.raises(ValueError, match="no such model"):
        parse_benchmark_app("[ ERROR ] no such model")


def test_ratios_are_those_of_the_same_round() -> None:
    found = {OURS: [[10.0, 10.0], [20.0, 20.0], [10.0]], "other": [[20.0], [40.0, 40.0], [30.0]]}
    row = PeersRow.model_validate(
        {**peers_row("engine", found, {"other": "a note"}), "bundle": "b", "product": "p", "machine": {}}
    )
    ours, other = row.sides
    assert ours.ratio_per_round == [1.0, 1.0, 1.0]
    assert (other.ratio, other.ratio_per_round, other.runs, other.note) == (2.0, [2.0, 2.0, 3.0], 4, "a note")


def test_who_begins_changes_from_round_to_round() -> None:
    calls: list[str] = []
    ways = {name: lambda seconds, name=name: calls.append(name) or [1.0] for name in "abc"}
    in_turns(ways, rounds=3, seconds=1.0)
    assert "".join(calls) == "abcbcacab"
    assert len(timed(lambda: None)(0.0)) == 3


def row(**changes: object) -> dict[str, object]:
    figures = {"image_auroc": 0.9, "pixel_auroc": 0.8, "pixel_ap": 0.5, "pro": 0.7, "seconds": 3.0, "cpu_seconds": 5.5}
    return {"product": "plate", "size": 256, "seed": 0, "share": 1.0, "method": "fader", **figures, **changes}


def test_the_suite_goes_on_where_it_stopped(tmp_path: Path) -> None:
    (tmp_path / "plate").mkdir()
    chosen = argparse.Namespace(data=[tmp_path / "plate"], seeds=[0, 1], methods=["fader", "ear"], size=256)
    left = accuracy_suite.missing(chosen, [row(), row(method="ear", seed=1), row(method="ear", size=128)])
    assert [(method, seed) for method, _, seed in left] == [("ear", 0), ("fader", 1)]


def test_a_training_that_fails_is_counted_and_leaves_no_row(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    out = tmp_path / "rows.jsonl"
    assert accuracy_suite.main(["--data", str(tmp_path / "empty"), "--methods", "none", "--out", str(out)]) == 1
    assert "none on empty, seed 0: failed" in capfd.readouterr().err
    assert not out.exists()


def test_published_figures_have_their_own_columns_and_their_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(), row(seed=1, image_auroc=0.92), row(method="patch-gaussian"), row(method="pbas:degree=0.1")]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in rows))
    accuracy_suite.main(["--show", str(path)])
    header, _, fader, gaussian, pbas = capsys.readouterr().out.splitlines()
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
