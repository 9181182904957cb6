"""A table is run, killed, gone on with, shared between devices; what goes wrong is told."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_ad.cli.app import main
from edge_ad.errors import DeviceError, EdgeAdError, UsageError
from edge_ad.reproduction.plan import Chosen
from edge_ad.reproduction.recipes import Options
from edge_ad.reproduction.rows import read_rows
from edge_ad.reproduction.run import reproduce, shared_gpus
from edge_ad.reproduction.tables import Table, read_tables, table_of
from edge_ad.reproduction.training import Workshop
from edge_ad.sweeps.cells import Told
from edge_ad.sweeps.local_processes import LocalProcesses

ROOT = Path(__file__).parents[2]
CATEGORIES = {"mvtec": "carpet,capsule,screw", "visa": "candle,pcb1,fryum", "mpdd": "connector,tubes,metal_plate"}
CATEGORIES["wfdd"] = "grey_cloth,grid_cloth,pink_flower"
KILLED = """
import os, signal, sys
from edge_ad.cli.app import main
from edge_ad.cli.progress import EpochProgress

told = EpochProgress.__call__
epochs = []

def kill(self, report):
    epochs.append(report)
    if len(epochs) == 2:  # the second category's first epoch, which is on the disk
        os.kill(os.getpid(), signal.SIGKILL)
    told(self, report)

EpochProgress.__call__ = kill
main(sys.argv[1:])
"""


def _command(table: str, data: str, out: Path, *more: str) -> list[str]:
    return ["reproduce", table, "--data", data, "--out", str(out), "--quick", "--device", "cpu", *more]


def test_a_killed_table_goes_on_where_it_was(trees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = _command("003/2", str(trees / "mvtec"), tmp_path, "--categories", "carpet,screw")
    killed = subprocess.run([sys.executable, "-c", KILLED, *command], cwd=ROOT, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    (first,) = read_rows(tmp_path / "rows.jsonl")
    (half,) = (tmp_path / "runs" / "mvtec" / "screw").iterdir()
    assert json.loads((half / "run.json").read_text())["status"] == "training"

    assert main(command) == 0
    out = capsys.readouterr().out
    again, second = read_rows(tmp_path / "rows.jsonl")
    assert again == first
    assert (second["category"], len((half / "log.jsonl").read_text().splitlines())) == ("screw", 1)  # not trained again
    assert "97.6 / 58.2 → **" in out
    assert "ours of 2 of 15" in out
    assert main(command) == 0
    assert len(read_rows(tmp_path / "rows.jsonl")) == 2


def _is_wide(table: Table) -> bool:
    """Whether every category is run: ablations, and tables of many masks of FADeR, have one."""
    variants = sum(bool(recipe.values) for recipe in table.own.values())
    return variants == 0 or len(table.own) <= 4


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reproduction")


@pytest.mark.slow
@pytest.mark.parametrize("table", [table for table in read_tables().values() if table.own], ids=lambda table: table.id)
def test_every_table_is_run_and_written_both_ways(
    table: Table, trees: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = {
        part.dataset: CATEGORIES[part.dataset].split(",")[: None if _is_wide(table) else 1] for part in table.parts
    }
    names = ",".join(name for categories in wanted.values() for name in categories)
    assert main(_command(table.id, str(trees), shared, "--categories", names)) == 0
    markdown = capsys.readouterr().out
    document = json.loads((shared / f"table-{table.id.replace('/', '-')}.json").read_text())
    for part in document["parts"]:
        lines = {line["category"]: line["cells"] for line in part["rows"]}
        for category in wanted[part["dataset"]]:
            ours = [cell for cell in lines[category] if "exact" in cell]
            assert len(ours) == len(table.own)
            for cell in ours:
                assert None not in (*cell["exact"], *cell["paper"])
                assert cell["train_seconds"] >= 0
        for column, mean in zip(table.columns, part["mean"], strict=True):
            assert ("exact" in mean) is (column.recipe is not None)
    assert markdown.count("→ **") >= len(table.own)
    assert "no figure of ours means anything" in markdown


@pytest.mark.slow
def test_the_learning_rate_of_fader_is_chosen_on_held_out_photos(trees: Path, shared: Path) -> None:
    command = _command("002/1", str(trees / "mvtec"), shared, "--categories", "carpet", "--column", "FADeR")
    assert main(command) == 0
    (row,) = (
        row for row in read_rows(shared / "rows.jsonl")
        if (row["category"], row["recipe"]["method"], row["recipe"]["values"]) == ("carpet", "fader", {})
    )  # fmt: skip
    figures = row["choice"]["schedule"]
    taken = figures.pop("taken")
    assert set(figures) == {"0.001:fixed", "0.0001:warm-up"}
    best = max(figures, key=figures.get)
    assert f"{taken['fader_learning_rate']:g}:{taken['fader_schedule']}" == best


def test_other_numbers_of_photos_than_published_end_it_before_anything_is_trained(
    trees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["reproduce", "001/1", "--data", str(trees / "mvtec"), "--out", str(tmp_path), "--categories", "screw"]
    assert main(command) == 2
    error, hint = capsys.readouterr().err.splitlines()[-2:]
    assert "screw has 9 to train on" in error
    assert "--accept-counts" in hint
    assert not list(tmp_path.iterdir())


def test_a_cell_that_fails_is_told_and_the_others_are_run(
    trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def fail(self: Workshop, recipe: Any) -> Any:
        tried.append(self.category)
        raise EdgeAdError("The kiln is cold.")

    monkeypatch.setattr(Workshop, "trained", fail)
    notes: list[str] = []
    told = Told(notes.append, lambda report: None, lambda done, total: None)
    chosen = Chosen({"": trees / "mvtec"}, ("screw", "carpet"), ("PBAS",))
    made = reproduce(table_of("001/1"), chosen, tmp_path, Options(device="cpu"), told, accept_counts=True)
    assert tried == ["carpet", "screw"]
    assert [failure.partition(": The")[0] for failure in made.failed] == [
        "MVTec AD carpet: PBAS",
        "MVTec AD screw: PBAS",
    ]
    assert sum("is not as published" in note for note in notes) == 1
    assert "| screw |" in made.markdown.read_text(encoding="utf-8")  # with the published figures


@pytest.mark.slow
def test_processes_share_the_cells_and_the_runs_that_cells_have_in_common(
    trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    told = Told(lambda text: None, lambda report: None, lambda done, total: None)
    chosen = Chosen({"": trees / "mvtec"}, ("screw",), ("EAR", "FADeR"))  # FADeR goes on from that EAR
    options = Options(device="cpu", quick=True, choose="preset")
    made = reproduce(table_of("002/1"), chosen, tmp_path, options, told, executor=LocalProcesses(2))
    assert made.failed == ()
    rows = read_rows(tmp_path / "rows.jsonl")
    assert sorted(row["recipe"]["method"] for row in rows) == ["ear", "fader"]
    assert len(list((tmp_path / "runs" / "mvtec" / "screw").iterdir())) == 2
    assert not list((tmp_path / "cells").iterdir())


def test_several_gpus_are_named_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert shared_gpus("cuda:1,cuda:0") == (1, 0)
    assert shared_gpus("cuda:1") == shared_gpus("auto") == ()
    with pytest.raises(UsageError, match="cpu cannot share"):
        shared_gpus("cuda:0,cpu")
    with pytest.raises(DeviceError, match="no GPU cuda:2"):
        shared_gpus("cuda:0,cuda:2")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--categories", "scew"], "Did you mean screw"),
        (["--categories", "screw", "--column", "RD++"], "can be run"),
        (["--choose", "fastest"], "is no choice"),
        (["--textures", "nowhere"], "No such folder"),
        (["--data", "elsewhere"], "twice"),
    ],
)
def test_what_is_asked_for_and_is_not_there_is_one_line(
    more: list[str], said: str, trees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_command("001/1", str(trees / "mvtec"), tmp_path, *more)) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert said in f"{error} {hint}"


def test_the_tables_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(read_tables())
