"""A sweep from its file to its rows, by the command that users have."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from edge_ad.cli.app import main
from edge_ad.sweeps.plan import photos_digest, plan_cells
from edge_ad.sweeps.specification import read_sweep_file

Writes = Callable[..., Path]


@pytest.fixture
def writes(products: list[Path], tmp_path: Path) -> Writes:
    """Writes the file of a sweep with what is changed in it."""

    def write(**changes: object) -> Path:
        content = {
            "out": "out",
            "products": [str(product) for product in products],
            "methods": ["patch-gaussian", {"method": "simplenet", "grid": {"hidden": [8, 16]}}],
            "parameters": {"size": 64, "epochs": 1, "levels": [16]},
            "limits": {"memory": "6GiB"},
            "run": {"workers": 2},
        }
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump({**content, **changes}))
        return path

    return write


def test_cells_are_products_times_methods_times_parameters_times_seeds(writes: Writes) -> None:
    cells = plan_cells(read_sweep_file(writes(seeds=[0, 1])))
    assert len(cells) == len({cell.key for cell in cells}) == 2 * 3 * 2
    assert [cell.labels["seed"] for cell in cells[:6]] == [0, 0, 0, 1, 1, 1]
    assert [cell.labels["parameters"] for cell in cells[:3]] == [
        {"size": 64, "levels": [16]},  # the epochs are another method's
        {"size": 64, "epochs": 1, "levels": [16], "hidden": 8},
        {"size": 64, "epochs": 1, "levels": [16], "hidden": 16},
    ]


def test_a_cell_keeps_its_key_wherever_it_runs_and_gets_another_with_other_photos(
    writes: Writes, products: list[Path], tmp_path: Path
) -> None:
    keys = [cell.key for cell in plan_cells(read_sweep_file(writes()))]
    elsewhere = writes(out="other", run={"cluster": "slurm"}, limits={"cores": 3}, keep_runs=False)
    assert [cell.key for cell in plan_cells(read_sweep_file(elsewhere))] == keys
    before = photos_digest(products[0])
    (tmp_path / "copy").symlink_to(products[0])
    assert photos_digest(tmp_path / "copy") == before
    more = products[0] / "train" / "good" / "more.png"
    more.write_bytes(next((products[0] / "train" / "good").glob("*.png")).read_bytes())
    try:
        assert photos_digest(products[0]) != before
    finally:
        more.unlink()


def test_a_photo_taken_anew_makes_other_cells_also_where_its_size_is_the_same(tmp_path: Path) -> None:
    photo = tmp_path / "train" / "good" / os.fsdecode(b"part-\xff.bmp")
    photo.parent.mkdir(parents=True)
    digests = []
    for shade in (0, 0, 1):
        photo.write_bytes(bytes([shade]) * 200_000)
        digests.append(photos_digest(tmp_path))
    assert digests[0] == digests[1] != digests[2]


def test_a_cell_with_a_gpu_does_not_fall_back_on_the_processor(writes: Writes) -> None:
    def device(**changes: object) -> object:
        return plan_cells(read_sweep_file(writes(**changes)))[0].arguments["device"]

    assert device() == "auto"
    assert device(limits={"gpus": 1}, run={"gpus": [0]}) == "cuda"


def test_a_sweep_is_checked_run_and_not_run_again(writes: Writes, capsys: pytest.CaptureFixture[str]) -> None:
    path = writes(methods=["patch-gaussian"], parameters={"size": 64})
    assert main(["sweep", str(path), "--dry-run"]) == 0
    assert capsys.readouterr().out.count("to run") == 2
    assert not (path.parent / "out").exists()

    assert main(["sweep", str(path)]) == 0
    shown = capsys.readouterr()
    assert "2/2 washer patch-gaussian size=64" in shown.err or "2/2 bolt patch-gaussian size=64" in shown.err
    content = (path.parent / "out" / "results.jsonl").read_bytes()
    rows = [json.loads(line) for line in content.splitlines()]
    assert [row["product"] for row in rows] == ["bolt", "washer"]
    assert all(0 <= row[name] <= 1 for row in rows for name in ("image_auroc", "pixel_auroc", "pro", "held_out"))
    costs = [json.loads(line) for line in (path.parent / "out" / "costs.jsonl").read_text().splitlines()]
    assert all(cost["seconds"] > 0 and cost["peak_mib"] > 0 for cost in costs)
    run = path.parent / "out" / "cells" / rows[0]["key"] / "run"
    assert json.loads((run / "run.json").read_text())["status"] == "finished"

    assert main(["sweep", str(path), "--json"]) == 0
    again = capsys.readouterr()
    assert "1/2" not in again.err
    assert json.loads(again.out) == rows
    assert (path.parent / "out" / "results.jsonl").read_bytes() == content


def test_a_cell_that_fails_ends_the_command_with_its_reason(
    writes: Writes, products: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few" / "train" / "good"
    few.mkdir(parents=True)
    few.joinpath("0.png").write_bytes(next((products[0] / "train" / "good").glob("*.png")).read_bytes())
    path = writes(methods=["simplenet"], products=[str(tmp_path / "few")])
    assert main(["sweep", str(path)]) == 1
    error, hint = capsys.readouterr().err.splitlines()[-2:]
    assert "1 of 1 cells failed; few simplenet" in error
    assert "failures.jsonl" in hint
    assert not (path.parent / "out" / "results.jsonl").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods": ["patch-gausian"]}, "Did you mean patch-gaussian"),
        ({"methods": [{"method": "simplenet", "parameters": {"hiden": 8}}]}, "has no parameter hiden"),
        ({"methods": [{"method": "simplenet", "parameters": {"hidden": -8}}]}, "Parameter hidden of simplenet"),
        ({"methods": ["simplenet", "simplenet"]}, "has a cell twice"),
        ({"methods": [{"method": "simplenet", "parameters": {"seed": 1}}]}, "Name it under seeds"),
        ({"parameters": {"sise": 64}}, "No method of the sweep has a parameter sise"),
        ({"products": ["nowhere"]}, "nowhere"),
        ({"limits": {"cores": 0}}, "limits.cores"),
        ({"limits": {"memory": "much"}}, "limits.memory"),
        ({"limits": {"memory": 6}}, "6 bytes are too few"),
        ({"wrong": 1}, "wrong"),
        ({"seeds": list(range(20_000))}, "has 120,000 cells"),
        ({"run": {"cluster": "moon"}}, "run.cluster"),
        ({"run": {"gpus": [-1]}}, "run.gpus"),
        ({"seeds": [0, -1]}, "Parameter seed of patch-gaussian"),
        ({"device": "cuda"}, "device cuda needs limits: {gpus: 1}"),
        (
            {"search": {"space": {"size": {"low": 32, "high": 64}}, "trials": 10_001}},
            "search.trials: Input should be less than or equal to 10000.",
        ),
    ],
)
def test_what_is_wrong_in_the_file_is_one_line(
    changes: dict[str, object], said: str, writes: Writes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", str(writes(**changes)), "--dry-run"]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert said in f"{error} {hint}"


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"choices": [8]}, "search.space.hidden.choice.choices: List should have at least 2 items"),
        ({"low": 9, "high": 8}, "search.space.hidden.range: low must be below high"),
        ({"high": 8}, "search.space.hidden.range.low: Field required"),
        (8, "search.space.hidden.range"),
    ],
)
def test_what_is_wrong_where_a_search_looks_is_told_of_what_was_written(
    writes: Writes, where: object, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", str(writes(search={"space": {"hidden": where}})), "--search"]) == 2
    assert said in capsys.readouterr().err


def test_results_are_not_written_among_the_photos(
    writes: Writes, products: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = writes(out="elsewhere")
    assert main(["sweep", str(path), "--out", str(products[0] / "sweep")]) == 2
    assert "lies in the product" in capsys.readouterr().err
    assert not (products[0] / "sweep").exists()


def test_a_file_that_is_no_yaml_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("out: [")
    assert main(["sweep", str(path)]) == 2
    assert "is no YAML" in capsys.readouterr().err


def test_fewer_gpus_than_the_workers_need_are_told_before_anything_runs(
    writes: Writes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = writes(limits={"gpus": 1}, run={"workers": 2, "gpus": [0]})
    assert main(["sweep", str(path)]) == 3
    assert "2 cells at the same time need 2 GPUs, and the file names 1" in capsys.readouterr().err
    assert not (path.parent / "out").exists()
