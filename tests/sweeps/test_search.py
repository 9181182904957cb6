"""A search by held-out photos: no test photo is opened, what is worse is given up, what was killed goes on."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_ad.cli.app import main
from edge_ad.errors import EdgeAdError, StorageError, UsageError
from edge_ad.sweeps.cell_folder import CellFolder
from edge_ad.sweeps.cells import Limits, Told
from edge_ad.sweeps.executors import InThisProcess
from edge_ad.sweeps.local_processes import LocalProcesses
from edge_ad.sweeps.looks import epoch_of_look
from edge_ad.sweeps.plan import photos_digest, training_cell
from edge_ad.sweeps.search import Found, run_search
from edge_ad.sweeps.specification import SweepFile
from edge_ad.sweeps.study import Tried
from edge_ad.sweeps.training_task import train_and_measure
from edge_ad.training.checkpoints import load_tensors

pytest.importorskip("optuna", reason="optuna is not installed")

SILENT = Told(lambda text: None, lambda report: None, lambda done, total: None)
TASK = "edge_ad.sweeps.training_task.train_and_measure"


def asked(products: list[Path], out: Path, **changes: Any) -> SweepFile:
    space = {"hidden": {"low": 8, "high": 64}, "noise": {"low": 0.01, "high": 0.1, "log": True}}
    content = {"out": out, "products": products, "methods": ["simplenet"], "search": {"space": space, "trials": 8}}
    return SweepFile.model_validate({**content, "seeds": [0, 1], **changes})


def searched(sweep: SweepFile, shown: list[Tried] | None = None) -> Found:
    listen = [] if shown is None else shown
    return run_search(sweep, InThisProcess(SILENT), Limits(), lambda tried, everything: listen.append(tried))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    """Arguments of each cell; its figure is the better the smaller ``hidden`` is."""
    calls: list[Mapping[str, Any]] = []

    def measure(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
        calls.append(arguments)
        return {"held_out": 1 - arguments["values"]["hidden"] / 100}

    monkeypatch.setattr(TASK, measure)
    return calls


def test_the_best_of_the_mean_is_found_and_what_is_worse_is_given_up(
    products: list[Path], tmp_path: Path, calls: list[Mapping[str, Any]]
) -> None:
    found = searched(asked(products, tmp_path, search={"space": {"hidden": {"low": 8, "high": 64}}, "trials": 16}))
    assert len(found.tried) == 16
    assert found.best.held_out == max(each.held_out or 0 for each in found.tried if each.state == "done")
    assert found.best.held_out == pytest.approx(1 - found.best.parameters["hidden"] / 100)
    assert {each.state for each in found.tried} == {"done", "given up"}
    assert len(calls) < 16 * 4  # two products, two seeds
    assert all(call["held_out_only"] and not call["keep_run"] for call in calls)


def test_a_search_that_was_killed_goes_on_with_what_it_was_at(
    products: list[Path], tmp_path: Path, calls: list[Mapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def measure(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
        if len(calls) == 13:
            raise Killed
        calls.append(arguments)
        return {"held_out": 1 - arguments["values"]["hidden"] / 100}

    with monkeypatch.context() as patch:
        patch.setattr(TASK, measure)
        with pytest.raises(Killed):
            searched(asked(products, tmp_path))
    before = list(calls)
    found = searched(asked(products, tmp_path))
    assert len(found.tried) == 8
    keys = [(json.dumps(call["values"]), call["seed"], call["product"]) for call in calls]
    assert len(keys) == len(set(keys)), "a cell was run twice"
    assert calls[len(before)]["values"] == before[-1]["values"]  # the rest of the combination that it was at
    assert searched(asked(products, tmp_path)).tried == found.tried


def test_a_search_that_goes_on_proposes_other_combinations_than_at_its_beginning(
    products: list[Path], tmp_path: Path, calls: list[Mapping[str, Any]]
) -> None:
    space = {"noise": {"low": 0.01, "high": 0.1}, "hidden": {"low": 8, "high": 64}}
    for trials in (3, 6):
        found = searched(asked(products, tmp_path, search={"space": space, "trials": trials}))
    noises = [each.parameters["noise"] for each in found.tried]
    assert len(noises) == len(set(noises)) == 6


def test_a_search_goes_on_when_the_last_line_of_its_journal_was_cut_off(
    products: list[Path], tmp_path: Path, calls: list[Mapping[str, Any]]
) -> None:
    wanted = {"space": {"hidden": {"low": 8, "high": 64}}}
    journal = tmp_path / "search" / "journal.log"
    for trials in (3, 4, 5):
        found = searched(asked(products, tmp_path, search={**wanted, "trials": trials}))
        assert len(found.tried) == trials
        with journal.open("a") as file:
            file.write('{"op_code": 4, "worker_id": "')


@pytest.mark.parametrize("content", [b"no JSON\n", b"[1]\n", b"\xff\n", b'{"op_code": 0}\n', b'{"a": 1}\n{}\n'])
def test_a_damaged_journal_is_one_line(
    content: bytes, products: list[Path], tmp_path: Path, calls: list[Mapping[str, Any]]
) -> None:
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "journal.log").write_bytes(content)
    with pytest.raises(StorageError, match=r"journal\.log is damaged"):
        searched(asked(products, tmp_path))
    assert calls == []


def test_a_training_that_is_worse_than_others_is_ended_before_its_end(
    products: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.sweeps.plan.TASK", "tests.sweeps.tasks:look_and_wait")
    wanted = {"space": {"noise": {"low": 0.1, "high": 0.5}}, "trials": 7, "looks": 1}
    sweep = asked(products[:1], tmp_path, seeds=[0], search=wanted)
    found = run_search(sweep, LocalProcesses(1), Limits())
    assert [each.state for each in found.tried] == ["done"] * 5 + ["given up"] * 2
    assert [each.held_out for each in found.tried[5:]] == [0.0, 0.0]
    assert len(list((tmp_path / "cells").iterdir())) == 5  # nothing is left of those that were given up


def test_looks_change_no_training_and_open_no_test_photo(products: list[Path], tmp_path: Path) -> None:
    product = tmp_path / "bolt"
    shutil.copytree(products[0], product)
    for path in [*(product / "test").rglob("*.png"), *(product / "ground_truth").rglob("*.png")]:
        path.write_bytes(b"no photo")
    sweep = asked([product], tmp_path, parameters={"size": 64, "epochs": 6, "levels": [16]})
    digest, entry, results = photos_digest(product), sweep.methods[0], []
    for looks in (0, 2):
        cell = training_cell(sweep, entry, sweep.parameters, product, digest, 0, held_out_only=True, looks=looks)
        folder = CellFolder(tmp_path / str(looks))
        results.append(train_and_measure(cell.arguments, folder.path, SILENT))
        weights = load_tensors(folder.path / "run" / "checkpoint.safetensors")[0]
        results[-1] |= {name: tensor.tolist() for name, tensor in weights.items()}
    assert results[0] == results[1]
    looked = folder.looked()
    assert set(looked) == {1, 2}
    assert all(0 <= figure <= 1 for figure in looked.values())


@pytest.mark.parametrize(("looks", "epochs", "after"), [(1, 10, [5]), (3, 8, [2, 4, 6]), (3, 2, [1, 1, 2])])
def test_looks_are_spread_over_a_training(looks: int, epochs: int, after: list[int]) -> None:
    assert [epoch_of_look(number, looks, epochs) for number in range(1, looks + 1)] == after


def test_other_photos_or_parameters_are_another_search(
    products: list[Path], tmp_path: Path, calls: list[Mapping[str, Any]]
) -> None:
    searched(asked(products, tmp_path, search={"space": {"hidden": {"low": 8, "high": 9}}, "trials": 1}))
    count = len(calls)
    space = {"hidden": {"low": 8, "high": 9}}
    searched(asked(products, tmp_path, parameters={"epochs": 3}, search={"space": space, "trials": 1}))
    assert len(calls) == 2 * count


def test_combinations_that_all_fail_are_one_line(
    products: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TASK, lambda arguments, folder, told: {"held_out": None})
    with pytest.raises(EdgeAdError, match="no photo is held out"):
        searched(asked(products, tmp_path))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"search": None}, "has no search"),
        ({"methods": ["simplenet", "pbas"]}, "of one method"),
        ({"settings": {"all_photos": True}}, "held out"),
        ({"search": {"space": {"hiden": {"low": 8, "high": 64}}}}, "has no parameter hiden"),
        ({"search": {"space": {"seed": {"low": 0, "high": 9}}}}, "Name it under seeds|given a seed"),
        ({"parameters": {"sise": 64}}, "No method of the sweep has a parameter sise"),
        ({"search": {"space": {"hidden": {"low": -8, "high": 64}}}}, "Parameter hidden"),
    ],
)
def test_what_cannot_be_searched_is_told_before_anything_runs(
    changes: dict[str, Any], said: str, products: list[Path], tmp_path: Path, calls: list[Mapping[str, Any]]
) -> None:
    with pytest.raises(UsageError, match=said):
        searched(asked(products, tmp_path, **changes))
    assert calls == []


def test_a_search_opens_no_test_photo(products: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    product = tmp_path / "bolt"
    shutil.copytree(products[0], product)
    for path in [*(product / "test").rglob("*.png"), *(product / "ground_truth").rglob("*.png")]:
        path.write_bytes(b"no photo")
    content = {"out": "out", "products": ["bolt"], "methods": ["patch-gaussian"], "parameters": {"size": 64}}
    content["search"] = {"trials": 2, "space": {"neighbourhood": {"choices": [1, 3]}}}
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(content))
    assert main(["sweep", str(path), "--search", "--dry-run"]) == 0
    assert "2 combinations, each of up to 1 cells" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["sweep", str(path), "--search", "--json"]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert 0 <= found["best"]["held_out"] <= 1
    assert (
        f"Best: edge-ad train patch-gaussian -p neighbourhood={found['best']['parameters']['neighbourhood']}"
        in shown.err
    )
    trials = [json.loads(line) for line in (tmp_path / "out" / "search" / "trials.jsonl").read_text().splitlines()]
    assert [trial["state"] for trial in trials] == ["done", "done"]
    assert not list((tmp_path / "out").glob("cells/*/run"))
