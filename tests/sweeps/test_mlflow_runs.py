"""Cells as runs of MLflow: each once, whoever asks and how often. With ``EDGE_AD_MLFLOW_URI``, on that server."""

import json
import os
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from edge_ad.cli.app import main
from edge_ad.errors import DeviceError, UsageError
from edge_ad.fleet.mlflow_client import mlflow_client
from edge_ad.sweeps.cells import Limits, Told
from edge_ad.sweeps.executors import InThisProcess
from edge_ad.sweeps.mlflow_runs import MlflowRuns
from edge_ad.sweeps.run import run_sweep
from tests.sweeps.tasks import cell

pytest.importorskip("mlflow", reason="mlflow is not installed")

SILENT = Told(lambda text: None, lambda report: None, lambda done, total: None)


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return os.environ.get("EDGE_AD_MLFLOW_URI", (tmp_path / "store").as_uri())


def test_each_finished_cell_is_one_run_with_parameters_figures_and_its_row(
    products: list[Path], tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"sweep-{uuid4().hex[:8]}"
    content = {"out": name, "products": [str(products[0])], "methods": ["patch-gaussian"], "seeds": [0, 1]}
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({**content, "parameters": {"size": 64}}))
    for _ in range(2):
        assert main(["sweep", str(path), "--mlflow", address, "--json"]) == 0
        shown = capsys.readouterr()
        assert "2 runs on MLflow" in shown.err
    rows = {row["key"]: row for row in json.loads(shown.out)}
    client = mlflow_client(address)
    runs = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    assert {run.data.tags["edge_ad.cell"] for run in runs} == set(rows)
    for run in runs:
        row = rows[run.data.tags["edge_ad.cell"]]
        assert run.data.params["product"] == "bolt"
        assert (run.data.params["seed"], run.data.params["parameters.size"]) == (str(row["seed"]), "64")
        assert run.data.metrics["image_auroc"] == pytest.approx(row["image_auroc"])
        assert run.data.metrics["seconds"] > 0
        got = client.download_artifacts(run.info.run_id, "result.json", str(tmp_path))
        assert json.loads(Path(got).read_text()) == row


def test_a_server_that_goes_away_ends_no_sweep_and_its_cells_are_logged_later(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"sweep-{uuid4().hex[:8]}"
    runs, cells = MlflowRuns(address, name), [cell("square", number=number) for number in (2, 3, 4)]

    def gone(*given: object, **more: object) -> None:
        raise DeviceError("MLflow refuses, or does not answer: gone")

    with monkeypatch.context() as patch:
        patch.setattr(runs, "add", gone)
        progress = run_sweep(
            cells,
            tmp_path,
            InThisProcess(SILENT),
            Limits(),
            lambda progress, answer: answer and runs.try_to_add(answer),
        )
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 3
    assert MlflowRuns(address, name).add_all(progress.answers.values()) == 3


def test_a_server_that_is_not_there_is_told_before_anything_runs(
    products: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({"out": "out", "products": [str(products[0])], "methods": ["patch-gaussian"]}))
    assert main(["sweep", str(path), "--mlflow", "http://user:secret@127.0.0.1:9"]) == 3
    error = capsys.readouterr().err
    assert "The MLflow server http://127.0.0.1:9 does not answer." in error
    assert "secret" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["", "mlflow.plant:5000", "runs"])
def test_an_address_that_mlflow_would_take_for_a_folder_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is no address of an MLflow server"):
        MlflowRuns(address, "bolts")
