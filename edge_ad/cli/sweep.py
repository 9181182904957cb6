"""``edge-ad sweep``: many trainings, on this machine or a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_ad.cli.options import JsonOption

if TYPE_CHECKING:
    from edge_ad.sweeps.cells import Cell
    from edge_ad.sweeps.controller import Answer
    from edge_ad.sweeps.mlflow_runs import MlflowRuns
    from edge_ad.sweeps.progress import SweepProgress
    from edge_ad.sweeps.specification import SweepFile
    from edge_ad.sweeps.study import Tried

__all__ = ["sweep"]

_FILE_HELP = "YAML: products, methods, parameters, seeds, limits, and where to run; docs/how-to/sweep.md shows one."
_DRY_HELP = "Check the file, and name the cells where there is no search; nothing is run."
_SEARCH_HELP = (
    "Look for the parameters that the file's search names, by Optuna, on held-out good photos and pseudo-defects: no "
    "test photo is opened."
)
_CLUSTER_HELP = "local or slurm, in place of the file's."
_MLFLOW_HELP = "MLflow server on which each finished cell is a run, in an experiment with the name of the folder."
_WORKERS_HELP = "Cells at the same time, in place of the file's; on SLURM, jobs that wait or run."


def sweep(
    file: Annotated[Path, typer.Argument(metavar="SWEEP.YAML", help=_FILE_HELP)],
    dry_run: Annotated[bool, typer.Option("--dry-run", "--check", help=_DRY_HELP)] = False,
    cluster: Annotated[str | None, typer.Option(help=_CLUSTER_HELP)] = None,
    workers: Annotated[int | None, typer.Option(min=1, help=_WORKERS_HELP)] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of cells and results, in place of the file's.")] = None,
    search: Annotated[bool, typer.Option("--search", help=_SEARCH_HELP)] = False,
    mlflow: Annotated[str | None, typer.Option(metavar="URI", help=_MLFLOW_HELP)] = None,
    json: JsonOption = False,
) -> None:
    """Train and measure products x methods x parameters x seeds, each cell on its own.

    A cell that has its result is not run again, and one that failed is. What was stopped or killed goes on with the
    same command.
    """
    from edge_ad.errors import UsageError
    from edge_ad.sweeps.plan import plan_cells

    found = _with_options(file, cluster, workers, out)
    if search:
        if mlflow is not None:
            raise UsageError(
                "A search has no runs for MLflow.", "Leave --mlflow out: trials.jsonl has the combinations."
            )
        _search(found, only_check=dry_run, as_json=json)
        return
    cells = plan_cells(found)
    if dry_run:
        _print_plan(found, cells, as_json=json)
    else:
        answers = _run(found, cells, mlflow).answers
        _report(found, [answers[cell.key] for cell in cells], as_json=json)


def _with_options(file: Path, cluster: str | None, workers: int | None, out: Path | None) -> SweepFile:
    from edge_ad.errors import UsageError
    from edge_ad.sweeps.specification import Place, read_sweep_file

    found = read_sweep_file(file)
    place = found.run.model_dump()
    if cluster not in (None, "local", "slurm"):
        raise UsageError(f"--cluster {cluster} is not known.", "local or slurm")
    if cluster is not None:
        place |= {"cluster": cluster}
    if workers is not None:
        place |= {"workers": workers}
    changes: dict[str, object] = {"run": Place.model_validate(place)}
    if out is not None:
        changes["out"] = out
    return found.model_copy(update=changes)


def _run(found: SweepFile, cells: list[Cell], mlflow: str | None) -> SweepProgress:
    from edge_ad.cli.console import note
    from edge_ad.cli.sweep_table import SweepTable
    from edge_ad.sweeps.run import executor_of, run_sweep

    executor, runs = executor_of(found.run, found.limits.limits), _mlflow_runs(found, mlflow)
    note(f"{len(cells)} cells in {found.out}")
    with SweepTable() as table:

        def show(progress: SweepProgress, answer: Answer | None) -> None:
            table(progress, answer)
            if runs is not None and answer is not None and answer.is_new:
                runs.try_to_add(answer)

        progress = run_sweep(cells, found.out, executor, found.limits.limits, show)
    if runs is not None:
        note(f"{runs.add_all(progress.answers.values())} runs on MLflow")
    return progress


def _mlflow_runs(found: SweepFile, address: str | None) -> MlflowRuns | None:
    if address is None:
        return None
    from edge_ad.sweeps.mlflow_runs import MlflowRuns

    return MlflowRuns(address, found.out.resolve().name)


def _search(found: SweepFile, *, only_check: bool, as_json: bool) -> None:
    from edge_ad.cli.console import note, print_json, print_table
    from edge_ad.sweeps.run import executor_of
    from edge_ad.sweeps.search import SEARCH_FOLDER, TRIALS_FILE, check_search, run_search

    total = check_search(found)[0].trials
    if only_check:
        note(f"{total} combinations, each of up to {len(found.products) * len(found.seeds)} cells, in {found.out}")
        return

    def show(tried: Tried, everything: Sequence[Tried]) -> None:
        figure = tried.message if tried.held_out is None else f"held out {tried.held_out:.4f}"
        note(f"{len(everything)}/{total} {_named(tried.parameters)}: {tried.state}, {figure}")

    limits = found.limits.limits
    result = run_search(found, executor_of(found.run, limits), limits, show)
    if as_json:
        print_json(result)
    else:
        ranked = sorted(result.tried, key=lambda each: (each.state != "done", -(each.held_out or 0.0)))
        rows = [[each.number, _named(each.parameters), each.state, each.held_out] for each in ranked]
        print_table(["trial", "parameters", "state", "held_out"], rows)
    given = " ".join(f"-p {name}={value}" for name, value in result.best.parameters.items())
    note(f"Best: edge-ad train {result.method} {given}")
    note(f"All {len(result.tried)}: {found.out / SEARCH_FOLDER / TRIALS_FILE}")


def _named(values: Mapping[str, object]) -> str:
    texts = (f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items())
    return ", ".join(texts)


def _print_plan(found: SweepFile, cells: list[Cell], *, as_json: bool) -> None:
    from edge_ad.cli.console import note, print_json, print_table
    from edge_ad.sweeps.controller import known_answer

    states = []
    for cell in cells:
        answer = known_answer(found.out, cell)
        states.append("to run" if answer is None else "done" if answer.finished else "failed before")
    if as_json:
        print_json(
            [{"key": cell.key, **cell.labels, "state": state} for cell, state in zip(cells, states, strict=True)]
        )
        return
    rows = [
        [cell.key, cell.labels["product"], cell.labels["method"], _parameters(cell), cell.labels["seed"], state]
        for cell, state in zip(cells, states, strict=True)
    ]
    print_table(["cell", "product", "method", "parameters", "seed", "state"], rows)
    note(f"{len(cells)} cells, {states.count('done')} of them done, in {found.out}")


def _parameters(cell: Cell) -> str:
    values = cell.labels["parameters"]
    return _named(values) if isinstance(values, dict) else ""


def _report(found: SweepFile, answers: list[Answer], *, as_json: bool) -> None:
    from edge_ad.cli.console import note, print_json, print_table
    from edge_ad.errors import EdgeAdError
    from edge_ad.sweeps.results import FAILURES_FILE, RESULTS_FILE, row_of

    done = [answer for answer in answers if answer.finished is not None]
    failed = [answer for answer in answers if answer.failure is not None]
    if as_json:
        print_json([row_of(answer) for answer in done])
    elif done:
        names = ["image_auroc", "pixel_auroc", "pixel_ap", "pro", "held_out"]
        rows = [
            [answer.cell.labels["product"], answer.cell.labels["method"], _parameters(answer.cell),
             answer.cell.labels["seed"], *(row_of(answer).get(name) for name in names)]
            for answer in done
        ]  # fmt: skip
        print_table(["product", "method", "parameters", "seed", *names], rows)
    note(f"{len(done)} results: {found.out / RESULTS_FILE}")
    if failed:
        first = failed[0]
        assert first.failure is not None
        raise EdgeAdError(
            f"{len(failed)} of {len(answers)} cells failed; {first.cell.words}: {first.failure.message}",
            f"{first.failure.hint} All: {found.out / FAILURES_FILE}. The same command tries them again.".lstrip(),
        )
