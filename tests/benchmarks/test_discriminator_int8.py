import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import discriminator_int8

FIGURES = {"fp32": 0.91235, "int8": 0.9, "int8-bf16": 0.8, "unasked": 1.0}

TIMES = {
    "engine": {"p50_ms": 2.0},
    "comparison": {
        "ours": {"p50_ms": 2.5},
        "theirs": {"p50_ms": 10.0},
        "ratio_of_medians": 4.0,
        "ratio_per_round": [3.9, 4.1],
    },
}


class Commands:
    """Stands for the commands of edge-ad: notes them, and leaves the files that the script looks for."""

    def __init__(self, refuses: bool = False) -> None:
        self.given: list[list[str]] = []
        self.refuses = refuses

    def __call__(self, arguments: Sequence[str | Path]) -> str:
        words = [str(item) for item in arguments]
        self.given.append(words)
        if words[0] == "train":
            run = Path(words[words.index("--runs") + 1]) / words[words.index("--name") + 1]
            (run / "bundle").mkdir(parents=True)
            (run / "checkpoint.safetensors").touch()
            (run / "bundle" / "manifest.json").touch()
        if words[0] == "build-engine" and self.refuses:
            raise subprocess.CalledProcessError(4, words, stderr="Building.\nerror: INT8 fails the accuracy gate.\n")
        if words[0] == "benchmark":
            return json.dumps({"engine": {"source": "made"}, "measurements": TIMES})
        return ""

    def metrics_of(self, run: Path, data: Path, precision: str) -> dict[str, float]:
        self.given.append(["evaluate", str(run), str(data), precision])
        return dict.fromkeys(discriminator_int8.METRICS, FIGURES[precision])

    @property
    def names(self) -> list[str]:
        return [words[0] for words in self.given]


def _commands(monkeypatch: pytest.MonkeyPatch, *, refuses: bool = False) -> Commands:
    commands = Commands(refuses)
    monkeypatch.setattr(discriminator_int8, "edge_ad", commands)
    monkeypatch.setattr(discriminator_int8, "metrics_of", commands.metrics_of)
    return commands


def measured(folder: Path, *options: str) -> list[dict[str, object]]:
    out = folder / "rows.jsonl"
    data = ["--data", str(folder / "bolt"), "--runs", str(folder / "runs")]
    discriminator_int8.main([*data, "--out", str(out), "--methods", "pbas", *options])
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_a_row_has_both_engines_of_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = _commands(monkeypatch)
    (row,) = measured(tmp_path, "--seeds", "3", "--parameter", "epochs=1")
    assert (row["product"], row["method"], row["seed"]) == ("bolt", "pbas", 3)
    assert row["fp32"] == dict.fromkeys(discriminator_int8.METRICS, 0.91235)
    assert row["int8"] == dict.fromkeys(discriminator_int8.METRICS, 0.9)
    assert commands.names == ["train", "build-engine", "evaluate", "evaluate"]
    assert commands.given[0][-4:] == ["--seed", "3", "--parameter", "epochs=1"]


def test_what_is_recorded_is_not_measured_again_and_what_is_trained_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = _commands(monkeypatch)
    measured(tmp_path)
    assert len(measured(tmp_path)) == 1
    assert commands.names.count("train") == 1
    (tmp_path / "rows.jsonl").unlink()
    measured(tmp_path)
    assert commands.names.count("train") == 1


def test_each_precision_has_a_row_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = _commands(monkeypatch)
    measured(tmp_path)
    rows = measured(tmp_path, "--precision", "int8-bf16")
    assert [row["precision"] for row in rows] == ["int8", "int8-bf16"]
    assert rows[1]["int8-bf16"] == dict.fromkeys(discriminator_int8.METRICS, 0.8)
    assert commands.given[-3] == [
        "build-engine",
        str(tmp_path / "runs" / "bolt" / "pbas-0"),
        "--precision",
        "int8-bf16",
    ]


def test_a_refused_build_is_a_row_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _commands(monkeypatch, refuses=True)
    (row,) = measured(tmp_path)
    assert row["refused"] == "error: INT8 fails the accuracy gate."
    assert "int8" not in row


def test_latency_is_measured_in_passes_that_go_on_where_they_were_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = _commands(monkeypatch)
    assert len(measured(tmp_path, "--latency")) == 1
    rows = measured(tmp_path, "--latency", "--passes", "3")
    assert [(row["pass"], row["ratio"], row["torch_ms"]) for row in rows] == [(n, 4.0, 10.0) for n in range(3)]
    assert commands.names == ["benchmark"] * 3
    assert commands.given[0][1] == str(tmp_path / "runs" / "bolt" / "pbas-0" / "bundle")
