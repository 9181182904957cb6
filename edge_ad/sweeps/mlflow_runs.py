"""Finished cells as runs of an experiment of MLflow: each once, however often a sweep is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from edge_ad.errors import EdgeAdError, require
from edge_ad.fleet.mlflow_client import mlflow_client, mlflow_errors
from edge_ad.strict_json import to_json
from edge_ad.sweeps.controller import Answer
from edge_ad.sweeps.results import row_of

__all__ = ["MlflowRuns"]

_KEY = "edge_ad.cell"
_PAGE = 1000
_LONGEST_NAME = 250


class MlflowRuns:
    """The runs of an experiment.

    Args:
        address: Of the MLflow server.
        experiment: Its name; made where it is not there.

    Raises:
        MissingDependencyError: mlflow is not installed.
        DeviceError: The server does not answer, or refuses.
    """

    def __init__(self, address: str, experiment: str) -> None:
        self._address, self._client = address, mlflow_client(address)
        with mlflow_errors(address):
            found = self._client.get_experiment_by_name(experiment)
            self._experiment = self._client.create_experiment(experiment) if found is None else found.experiment_id
            self._logged = set(self._keys())
        self._is_silent = False

    def try_to_add(self, answer: Answer) -> None:
        """Log a cell while others run. Where MLflow does not answer, nothing is lost: `add_all` logs it."""
        if not self._is_silent:
            try:
                self.add(answer)
            except EdgeAdError:
                self._is_silent = True

    def add_all(self, answers: Iterable[Answer]) -> int:
        """Log the cells that are not there yet; returns how many are there now.

        Raises:
            DeviceError: The server does not answer, or refuses.
        """
        for answer in answers:
            self.add(answer)
        return len(self._logged)

    def add(self, answer: Answer) -> None:
        """Log a cell with a result, unless it is there.

        Raises:
            DeviceError: The server does not answer, or refuses.
        """
        if answer.finished is None or answer.cell.key in self._logged:
            return
        entities, client = require("mlflow.entities", extra="mlflow"), self._client
        cost = answer.finished.cost
        ends = int(1000 * datetime.fromisoformat(cost.finished).timestamp())
        figures = {**answer.finished.result, "seconds": cost.seconds, "cpu_seconds": cost.cpu_seconds}
        figures["peak_mib"] = cost.peak_mib
        metrics = [entities.Metric(name, value, ends, 0) for name, value in _numbers(figures)]
        parameters = [entities.Param(name, value) for name, value in _texts(answer.cell.labels)]
        with mlflow_errors(self._address):
            started = ends - int(1000 * cost.seconds)
            name = answer.cell.words[:_LONGEST_NAME]
            run = client.create_run(self._experiment, started, {_KEY: answer.cell.key}, name).info.run_id
            client.log_batch(run, metrics=metrics, params=parameters)
            client.log_text(run, to_json(row_of(answer), indent=2) + "\n", "result.json")
            client.set_terminated(run, end_time=ends)  # last: a run that was cut off is logged anew
        self._logged.add(answer.cell.key)

    def _keys(self) -> Iterable[str]:
        token = None
        while token != "":
            found = self._client.search_runs(
                [self._experiment], "attributes.status = 'FINISHED'", max_results=_PAGE, page_token=token
            )
            yield from (run.data.tags[_KEY] for run in found if _KEY in run.data.tags)
            token = found.token or ""


def _numbers(figures: Mapping[str, Any]) -> Iterable[tuple[str, float]]:
    for name, value in figures.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name, float(value)


def _texts(labels: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in labels.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{each}", str(given)) for each, given in value.items())
        else:
            yield name, str(value)
