"""The study of a search: what Optuna proposes, and what became of it, in a journal on the disk."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edge_ad.errors import StorageError, require
from edge_ad.storage import storage_errors
from edge_ad.strict_json import to_json
from edge_ad.sweeps.specification import Choice, Range, Search, SweepFile

__all__ = ["Tried", "end_trial", "open_study", "suggested", "tried_of"]

_JOURNAL = "journal.log"
_FIRST_TRIALS = 5  # none of them is given up: there is nothing to compare with
_MESSAGE, _STATES = "message", {"COMPLETE": "done", "PRUNED": "given up", "FAIL": "failed"}


@dataclass(frozen=True)
class Tried:
    """A combination that was tried.

    Attributes:
        number: Of the trial, from 0.
        parameters: What was chosen for it.
        state: ``done``, ``given up`` or ``failed``.
        held_out: Mean image AUROC on held-out photos, of the cells that were run; None where none was.
        message: Why it failed; empty where it did not.
    """

    number: int
    parameters: Mapping[str, Any]
    state: str
    held_out: float | None
    message: str = ""


def _optuna() -> Any:
    optuna = require("optuna", extra="sweep")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def open_study(sweep: SweepFile, wanted: Search, digests: Mapping[Path, str], folder: Path) -> Any:
    """The study of a search on the disk; what a killed controller was at is asked for first.

    Args:
        sweep: With the method whose parameters are looked for.
        wanted: Its search.
        digests: Folder of each product → the digest of its photos.
        folder: Of the journal.

    Raises:
        MissingDependencyError: Optuna is not installed.
        StorageError: The journal is damaged, or cannot be written.
    """
    optuna, journal = _optuna(), folder / _JOURNAL
    with storage_errors(journal):
        _end_at_a_line(journal)
        study = _loaded(optuna, journal, _name(sweep, wanted, digests))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a part of it is experimental
        # One that goes on with the seed of the beginning would propose the first combinations again.
        seed = wanted.seed + len(study.get_trials(deepcopy=False))
        study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params)
    return study


def _end_at_a_line(journal: Path) -> None:
    """Drop what a power cut or a full disk has left of a line: the next one would be written behind it."""
    with suppress(FileNotFoundError), journal.open("rb+") as file:
        file.truncate(file.read().rfind(b"\n") + 1)


def _loaded(optuna: Any, journal: Path, name: str) -> Any:
    try:
        return optuna.create_study(
            study_name=name,
            storage=optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal))),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_FIRST_TRIALS),
            direction="maximize",
            load_if_exists=True,
        )
    except (ValueError, TypeError, LookupError, AssertionError) as error:  # as Optuna takes what it reads
        hint = "Delete it: the search begins anew, and cells that have results are not run again."
        raise StorageError(f"{journal} is damaged.", hint) from error


def _name(sweep: SweepFile, wanted: Search, digests: Mapping[Path, str]) -> str:
    """The same for a search whose figures can be compared."""
    content = {
        "space": {name: where.model_dump() for name, where in wanted.space.items()},
        "method": sweep.methods[0].model_dump(),
        "parameters": sweep.parameters,
        "settings": sweep.settings.model_dump(),
        "seeds": sweep.seeds,
        "looks": wanted.looks,
        "photos": sorted((path.resolve().name, digest) for path, digest in digests.items()),
    }
    return hashlib.sha256(to_json(content).encode()).hexdigest()[:16]


def suggested(trial: Any, name: str, where: Range | Choice) -> Any:
    """What a trial proposes for a parameter.

    Args:
        trial: Of Optuna.
        name: Of the parameter.
        where: To look.
    """
    if isinstance(where, Choice):
        return trial.suggest_categorical(name, where.choices)
    if isinstance(where.low, int) and isinstance(where.high, int):
        return trial.suggest_int(name, where.low, where.high, log=where.log)
    return trial.suggest_float(name, where.low, where.high, log=where.log)


def tried_of(trial: Any) -> Tried | None:
    """What became of a trial of Optuna; None while it is open, or where a killed search has left it."""
    if trial.state.name not in _STATES or (trial.state.name == "FAIL" and _MESSAGE not in trial.user_attrs):
        return None
    steps = trial.intermediate_values
    held_out = trial.value if trial.state.name == "COMPLETE" else steps[max(steps)] if steps else None
    message = str(trial.user_attrs.get(_MESSAGE, ""))
    return Tried(trial.number, dict(trial.params), _STATES[trial.state.name], held_out, message)


def end_trial(study: Any, trial: Any, state: Literal["PRUNED", "FAIL"], message: str = "") -> None:
    """End a trial that has no figure.

    Args:
        study: Of the trial.
        trial: Of Optuna.
        state: As Optuna calls it.
        message: Why it failed.
    """
    if message:
        trial.set_user_attr(_MESSAGE, message)
    study.tell(trial, state=_optuna().trial.TrialState[state])
