"""A device that follows a tag: what the tag names is pulled, built, verified, swapped in, tried out, or refused.

Beside the folder ``screw`` of the bundle lies ``.screw-follow``:

    candidate-…/     the bundle that is being prepared; kept while the backend does not work, so that it is pulled once
    previous/        the bundle before the present one, for going back
    state.json       see `FollowState`

The folder of the bundle is only ever exchanged as a whole. Which bundle it holds is said by ``origin.json`` in it, so
the two cannot contradict each other, wherever the agent is killed. A bundle is refused in the state before the folder
goes back to the previous one: a killed agent finishes that when it starts again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from edge_ad.bundle import Bundle
from edge_ad.bundle.bundle import MANIFEST_FILE, check_replaceable
from edge_ad.errors import (
    BundleError,
    DeviceError,
    EdgeAdError,
    MissingDependencyError,
    QualityGateError,
    StorageError,
    UsageError,
)
from edge_ad.fleet.health import Health, HealthLimits
from edge_ad.fleet.preparation import Prepare
from edge_ad.fleet.product import OtherProductError
from edge_ad.fleet.pulling import checked_origin, fill_folder, holds, is_vouched_for, read_origin, write_origin
from edge_ad.fleet.reference import ArtifactReference
from edge_ad.fleet.registry_client import RegistryClient, RegistryContentError
from edge_ad.fleet.registry_session import ANSWER_S
from edge_ad.fleet.signatures import PublicKey, SignatureError
from edge_ad.fleet.state import FollowState, Step, Trial, read_state, write_state
from edge_ad.fleet.stream_watch import StreamWatch
from edge_ad.storage import (
    atomic_directory,
    clone_tree,
    is_taken,
    one_at_a_time,
    remove_leftovers,
    sha256_file,
    storage_errors,
)

__all__ = ["FolderTakenError", "FollowOptions", "Follower"]

_STATE_FILE = "state.json"
_CANDIDATE = "candidate-"
_OBSERVE_S = 2.0
_NOT_ITS_FAULT = (DeviceError, MissingDependencyError, UsageError, StorageError, RegistryContentError)
"""What says nothing about a bundle: it is tried again."""


class FolderTakenError(UsageError):
    """Another agent keeps the folder."""


@dataclass(frozen=True)
class FollowOptions:
    """How to follow.

    Attributes:
        trusted: Keys of which one must have signed a bundle; none asks for no signature.
        plain_http: Speak HTTP without TLS.
        any_product: Whether a bundle may be of another product than the one in the folder.
        health: Address of the metrics of the stream that uses the folder; None for no trial.
        limits: When its health has fallen.
        trial_s: How long a new bundle is tried, in seconds.
        observe_s: Time between two looks at it, in seconds.
        answer_s: How long the registry may take to answer a question, in seconds.
    """

    trusted: Sequence[PublicKey] = ()
    plain_http: bool = False
    any_product: bool = False
    health: str | None = None
    limits: HealthLimits = field(default_factory=HealthLimits)
    trial_s: float = 120.0
    observe_s: float = _OBSERVE_S
    answer_s: float = ANSWER_S


class Follower:
    """Keeps a folder at what a tag names; at a digest, where that is given.

    Args:
        reference: The tag, or a digest.
        root: Folder of the bundle.
        prepare: What is done with a candidate before it is used, in this order: step → function.
        options: How to follow.
        tell: Told of every state.
        log: Called with a line for each step.

    Attributes:
        state: The state after the last round.
        problem: What the last round failed with, the bundle or else; None for nothing.
    """

    def __init__(
        self,
        reference: ArtifactReference,
        root: Path,
        prepare: Sequence[tuple[Step, Prepare]],
        options: FollowOptions,
        *,
        tell: Callable[[FollowState], None] = lambda state: None,
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._reference, self._root, self._prepare, self._options = reference, root.resolve(), prepare, options
        self._tell, self._log = tell, log
        self._work = self._root.with_name(f".{self._root.name}-follow")
        self._previous = self._work / "previous"
        self._is_damaged = False
        self.state = FollowState(reference=reference.words)
        self.problem: EdgeAdError | None = None
        self._stream = StreamWatch(options.health, options.limits, trial_s=options.trial_s, observe_s=options.observe_s)

    @property
    def health(self) -> Health | None:
        """What the stream that uses the folder said last; None where it is not asked, or does not answer."""
        return self._stream.health

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no other agent follows into this folder; what a killed one left is put in order.

        Raises:
            FolderTakenError: Another one does.
            BundleError: The folder holds something else than a bundle.
            StorageError: No space or no permission.
        """
        held = self._work / "agent"  # a folder of its own: what builds an engine holds the folder of the candidate
        with storage_errors(held):
            held.mkdir(parents=True, exist_ok=True)
        if is_taken(held):
            raise FolderTakenError(f"Another edge-ad follow keeps {self._root}.", "Stop it, or name another folder.")
        with one_at_a_time(held):
            self._put_in_order()
            yield

    def check(self) -> FollowState:
        """Do one round: what the tag names now is used, or refused, or it is tried again later.

        Returns:
            The state after it.
        """
        self.problem = None
        self._stream.ask()
        try:
            self._round()
        except _NOT_ITS_FAULT as error:
            self.problem = _alone(error)
            self._set("waiting", str(error))
        return self.state

    def forget_refusals(self) -> None:
        """Try again what was refused before."""
        self._save(self.state.model_copy(update={"refused": {}}))

    def _round(self) -> None:
        trial = self.state.trial
        if trial is not None and trial.digest == self._live():  # the agent was ended during it
            self._try_out(trial)
        options = self._options
        with RegistryClient(self._reference, plain_http=options.plain_http, answer_s=options.answer_s) as client:
            digest = self._reference.name if self._reference.is_pinned else client.digest(self._reference.name)
            candidate = self._work / f"{_CANDIDATE}{digest.removeprefix('sha256:')}"
            self._remove_candidates(but=candidate)
            if digest in self.state.refused:
                self._set("refused", self.state.refused[digest])
            elif digest == self._live():
                self._keep(client, digest)
            else:
                self._update(client, digest, candidate)

    def _keep(self, client: RegistryClient, digest: str) -> None:
        """Keep the bundle that is there, if it is signed as is asked now."""
        try:
            if not is_vouched_for(self._root, self._options.trusted):
                write_origin(self._root, checked_origin(client, self._reference, digest, self._options.trusted))
        except SignatureError as error:
            self.problem = _alone(error)
            self._go_back(str(error))
        else:
            self._set("current")

    def _update(self, client: RegistryClient, digest: str, candidate: Path) -> None:
        is_kept = False
        try:
            self._make(client, digest, candidate)
            trial = self._planned_trial(digest)
            self._save(self.state.model_copy(update={"trial": trial}))
            self._use(candidate)
        except (DeviceError, MissingDependencyError):
            is_kept = True
            raise
        except RegistryContentError:  # of the registry, which may be mended
            raise
        except (BundleError, QualityGateError) as error:
            self.problem = _alone(error)
            if not isinstance(error, (SignatureError, OtherProductError)):  # found without a download
                self._save(self.state.refusing(digest, str(error)))
            self._set("refused", str(error))
            return
        finally:
            if not is_kept:
                shutil.rmtree(candidate, ignore_errors=True)
        if trial is not None:
            self._try_out(trial)
        else:
            self._set("current", "" if self._options.health is None else "used without a trial: no stream answered")

    def _planned_trial(self, digest: str) -> Trial | None:
        """The trial of a bundle; None where there is no stream to watch."""
        before = self._stream.ask()
        return None if before is None else Trial(digest=digest, before=before)

    def _make(self, client: RegistryClient, digest: str, candidate: Path) -> None:
        self._set("pulling", digest)
        origin = checked_origin(client, self._reference, digest, self._options.trusted)
        if not holds(candidate, digest):
            with atomic_directory(candidate) as staged:
                is_any = self._options.any_product
                fill_folder(client, origin, staged, known=self._root, any_product=is_any, log=self._log)
        for step, prepare in self._prepare:
            self._set(step, digest)
            prepare(candidate)

    def _use(self, candidate: Path) -> None:
        """Let the candidate take the place of the present bundle, which is kept."""
        check_replaceable(self._root)
        if (self._root / MANIFEST_FILE).is_file() and not self._is_damaged:
            self._log("keeping the present bundle")
            _copy(self._root, self._previous)
        self._log("replacing the bundle")
        with one_at_a_time(self._root.parent):
            _copy(candidate, self._root)
        self._is_damaged = False

    def _try_out(self, trial: Trial) -> None:
        self._set("on trial", trial.digest)
        problem = self._stream.try_out(trial.before, _hash(self._root))
        if problem:
            self._save(self.state.refusing(trial.digest, problem).model_copy(update={"trial": None}))
            self._go_back(problem)
        else:
            self._save(self.state.model_copy(update={"trial": None}))
            self._set("current")

    def _go_back(self, why: str) -> None:
        has_previous = (self._previous / MANIFEST_FILE).is_file()
        if not has_previous or not is_vouched_for(self._previous, self._options.trusted):
            self._set("refused", f"{why.removesuffix('.')}; there is no earlier bundle to go back to")
            return
        self._log("going back to the previous bundle")
        with one_at_a_time(self._root.parent):
            _copy(self._previous, self._root)
        self._set("rolled back", why)

    def _put_in_order(self) -> None:
        remove_leftovers(self._previous)
        with one_at_a_time(self._root.parent):
            remove_leftovers(self._root)
        self._remove_candidates()
        check_replaceable(self._root)
        self._is_damaged = self._root.exists() and not _opens(self._root)
        self.state = read_state(self._work / _STATE_FILE, self._reference.words)
        live = self._live()
        if live in self.state.refused:  # killed before the folder went back
            self._go_back(self.state.refused[live])

    def _remove_candidates(self, *, but: Path | None = None) -> None:
        for candidate in (*self._work.glob(f"{_CANDIDATE}*"), *self._work.glob(f".{_CANDIDATE}*")):
            if candidate != but:
                shutil.rmtree(candidate, ignore_errors=True)

    def _live(self) -> str:
        origin = None if self._is_damaged else read_origin(self._root)
        return "" if origin is None else origin.digest

    def _set(self, step: Step, message: str = "") -> None:
        self._log(f"{step}: {message}" if message else step)
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        update = {"step": step, "message": " ".join(message.split()), "digest": self._live(), "at": now}
        new = self.state.model_copy(update=update)
        if new.model_copy(update={"at": self.state.at}) == self.state:  # spare the device's flash
            self.state = new
        else:
            self._save(new)
        self._tell(new)

    def _save(self, state: FollowState) -> None:
        self.state = state
        with suppress(StorageError):  # a full disk: the bundle in the folder stays in use
            write_state(self._work / _STATE_FILE, state)


def _alone(error: EdgeAdError) -> EdgeAdError:
    """The same error without its traceback, which would keep connections alive."""
    return type(error)(error.message, error.hint)


def _copy(source: Path, target: Path) -> None:
    """Let ``target`` hold the files of ``source``, with its engines, in one step."""
    with atomic_directory(target) as staged:
        clone_tree(source, staged)
    Bundle.open(target)


def _opens(root: Path) -> bool:
    try:
        Bundle.open(root)
    except (BundleError, UsageError):
        return False
    return True


def _hash(root: Path) -> str:
    return sha256_file(root / MANIFEST_FILE)
