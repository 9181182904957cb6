"""Look for parameters by Optuna, on held-out good photos and pseudo-defects alone: no test photo is opened.

A trial is a combination of parameters. Its cells are those of the sweep's products and seeds, one after the other; its
figure is the mean of theirs. One that is worse than others were after as many cells, and as many looks at the next one,
is given up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from edge_ad.errors import EdgeAdError, UsageError
from edge_ad.models.registry import method_class
from edge_ad.storage import one_at_a_time, storage_errors, write_file
from edge_ad.strict_json import to_json
from edge_ad.sweeps.cells import Cell, Limits
from edge_ad.sweeps.controller import Answer, Controller, folder_of
from edge_ad.sweeps.executors import Executor
from edge_ad.sweeps.plan import check_values, product_digests, training_cell
from edge_ad.sweeps.specification import MethodEntry, Range, Search, SweepFile
from edge_ad.sweeps.study import Tried, end_trial, open_study, suggested, tried_of

__all__ = ["SEARCH_FOLDER", "TRIALS_FILE", "Found", "check_search", "run_search"]

SEARCH_FOLDER, TRIALS_FILE = "search", "trials.jsonl"


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes:
        method: Whose parameters they are.
        best: The best combination that was tried to its end.
        tried: All of them.
    """

    method: str
    best: Tried
    tried: tuple[Tried, ...]


@dataclass
class _Trial:
    trial: Any
    cells: list[Cell]
    figures: list[float] = field(default_factory=list)
    looked: int = 0

    @property
    def cell(self) -> Cell:
        """The one that is waited for."""
        return self.cells[len(self.figures)]


def run_search(
    sweep: SweepFile,
    executor: Executor,
    limits: Limits,
    show: Callable[[Tried, Sequence[Tried]], None] = lambda tried, all_of_them: None,
) -> Found:
    """Try combinations until there are as many as asked for; what was stopped or killed goes on.

    Args:
        sweep: With ``search`` and one method.
        executor: Where cells run; as many combinations at the same time as it has workers.
        limits: What each cell may use.
        show: Called after each combination with it and with all.

    Raises:
        MissingDependencyError: Optuna is not installed.
        UsageError: The file asks for no search, or for one that cannot be.
        EdgeAdError: No combination could be tried to its end.
        StorageError: A file cannot be written.
        KeyboardInterrupt: Stopped; the same call goes on.
    """
    wanted, entry = check_search(sweep)
    digests = product_digests(sweep)
    folder, cells = sweep.out / SEARCH_FOLDER, sweep.out / "cells"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        cells.mkdir(exist_ok=True)
    with one_at_a_time(cells):
        searcher = _Searcher(sweep, wanted, entry, digests, executor, limits)
        tried = searcher.run(show)
    write_file(folder / TRIALS_FILE, "".join(f"{to_json(each)}\n" for each in tried).encode())
    done = [each for each in tried if each.state == "done" and each.held_out is not None]
    if not done:
        failed = next((each.message for each in tried if each.message), "none was tried to its end")
        raise EdgeAdError(f"No combination could be tried: {failed}", f"All of them: {folder / TRIALS_FILE}")
    best = max(done, key=lambda each: each.held_out or 0.0)
    return Found(method_class(entry.method).method, best, tuple(tried))


def check_search(sweep: SweepFile) -> tuple[Search, MethodEntry]:
    """What is looked for, and the method whose parameters these are.

    Raises:
        UsageError: The file asks for no search, or for one that cannot be.
    """
    if sweep.search is None:
        raise UsageError("The file has no search.", "docs/how-to/sweep.md shows one.")
    if len(sweep.methods) != 1 or sweep.methods[0].grid:
        raise UsageError("A search is among the parameters of one method, without a grid.", "Leave the others out.")
    if sweep.settings.all_photos:
        raise UsageError("A search needs photos that are held out.", "Leave all_photos out of settings.")
    entry, values = sweep.methods[0], _fixed(sweep)
    for name, where in sweep.search.space.items():
        for value in (where.low, where.high) if isinstance(where, Range) else where.choices:
            check_values(sweep, entry, {**values, name: value})
    return sweep.search, entry


def _fixed(sweep: SweepFile) -> dict[str, Any]:
    (entry,) = sweep.methods
    fields = method_class(entry.method).parameters_type.model_fields
    return {**{name: value for name, value in sweep.parameters.items() if name in fields}, **entry.parameters}


class _Searcher:
    def __init__(
        self,
        sweep: SweepFile,
        wanted: Search,
        entry: MethodEntry,
        digests: Mapping[Path, str],
        executor: Executor,
        limits: Limits,
    ) -> None:
        self._sweep, self._wanted, self._entry, self._digests = sweep, wanted, entry, digests
        self._workers = executor.workers
        self._controller = Controller(sweep.out, executor, limits)
        self._study = open_study(sweep, wanted, digests, sweep.out / SEARCH_FOLDER)
        self._open: list[_Trial] = []

    def run(self, show: Callable[[Tried, Sequence[Tried]], None]) -> list[Tried]:
        """Try combinations; returns all that were tried, those of before too."""
        try:
            while self._ask_for_more() or self._open:
                self._start_cells()
                ended = [trial for answer in self._controller.answers() for trial in self._take(answer)]
                for trial in (*ended, *self._given_up()):
                    tried = self.tried()
                    show(next(each for each in tried if each.number == trial.trial.number), tried)
                self._controller.wait()
        except BaseException:
            self._controller.stop()
            raise
        return self.tried()

    def tried(self) -> list[Tried]:
        """Combinations that were tried; not those that a killed search has left."""
        found = map(tried_of, self._study.get_trials(deepcopy=False))
        return [each for each in found if each is not None]

    def _ask_for_more(self) -> bool:
        """Open as many trials as there are workers; whether there are any left to open."""
        while (left := self._wanted.trials - len(self.tried()) - len(self._open)) > 0:
            if len(self._open) >= self._workers:
                break
            trial = self._study.ask()
            chosen = {name: suggested(trial, name, where) for name, where in self._wanted.space.items()}
            self._open.append(_Trial(trial, list(self._cells({**_fixed(self._sweep), **chosen}))))
        return left > 0

    def _cells(self, values: Mapping[str, Any]) -> Iterator[Cell]:
        sweep = self._sweep.model_copy(update={"keep_runs": False})
        for seed in sweep.seeds:
            for product in sweep.products:
                digest = self._digests[product]
                looks = self._wanted.looks
                yield training_cell(sweep, self._entry, values, product, digest, seed, held_out_only=True, looks=looks)

    def _start_cells(self) -> None:
        for trial in self._open:
            if trial.cell.key not in {each.key for each in self._controller.running}:
                self._controller.start(trial.cell)

    def _take(self, answer: Answer) -> Iterator[_Trial]:
        """Give an answer to the trials that wait for it; those that it ends."""
        for trial in list(self._open):
            if trial.cell.key == answer.cell.key and self._is_ended(trial, answer):
                self._open.remove(trial)
                yield trial

    def _is_ended(self, trial: _Trial, answer: Answer) -> bool:
        failed = _failed(answer)
        if failed:
            end_trial(self._study, trial.trial, "FAIL", failed)
            return True
        assert answer.finished is not None
        self._report_looks(trial)
        trial.figures.append(float(str(answer.finished.result["held_out"])))
        trial.looked = 0
        if len(trial.figures) == len(trial.cells):
            self._study.tell(trial.trial, fmean(trial.figures))
            return True
        self._report(trial, trial.figures)
        return self._is_pruned(trial)

    def _given_up(self) -> Iterator[_Trial]:
        """End the trials whose training shows before its end that it is worse."""
        for trial in list(self._open):
            if self._report_looks(trial) and self._is_pruned(trial):
                self._open.remove(trial)
                if all(other.cell.key != trial.cell.key for other in self._open):
                    self._controller.give_up(trial.cell)
                yield trial

    def _report_looks(self, trial: _Trial) -> bool:
        """Report the looks at the cell that is waited for; whether there are new ones."""
        looks = folder_of(self._sweep.out, trial.cell).looked()
        new = sorted(number for number in looks if number > trial.looked)
        for trial.looked in new:
            self._report(trial, [*trial.figures, looks[trial.looked]])
        return bool(new)

    def _report(self, trial: _Trial, figures: Sequence[float]) -> None:
        trial.trial.report(fmean(figures), len(trial.figures) * (self._wanted.looks + 1) + trial.looked)

    def _is_pruned(self, trial: _Trial) -> bool:
        worse: bool = trial.trial.should_prune()
        if worse:
            end_trial(self._study, trial.trial, "PRUNED")
        return worse


def _failed(answer: Answer) -> str:
    if answer.failure is not None:
        return f"{answer.cell.words}: {answer.failure.message}"
    if answer.finished is None or answer.finished.result.get("held_out") is None:
        return f"{answer.cell.words}: no photo is held out"
    return ""
