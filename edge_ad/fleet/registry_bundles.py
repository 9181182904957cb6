"""Bundles that a stream takes from a registry: ``stream --bundle oci://registry.plant:5000/line/screw:stable``.

Each has a folder of its own in the cache folder, ``bundles/<registry>/<name>/<tag>``, which is kept as by a device that
follows a tag. When the registry is away, what was pulled before is used.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_ad.bundle import Bundle
from edge_ad.bundle.bundle import MANIFEST_FILE
from edge_ad.errors import BundleError, EdgeAdError
from edge_ad.fleet.follow import FolderTakenError, Follower, FollowOptions
from edge_ad.fleet.preparation import Preparation, PreparationCancelledError
from edge_ad.fleet.pulling import is_vouched_for, read_origin
from edge_ad.fleet.reference import ArtifactReference
from edge_ad.fleet.signatures import SignatureError
from edge_ad.fleet.state import FollowState
from edge_ad.storage import cache_folder, one_at_a_time

__all__ = ["START_ANSWER_S", "RegistryBundles", "cached_folder"]

START_ANSWER_S = 10.0
"""How long a registry may take to answer a question where a line waits for it, in seconds."""

_POLL_S = 0.5
_PATIENCE_S = 20.0
_JOIN_S = 10.0
_SAME_TRUST = "Start all streams of this tag with the same --trust."
_DAMAGED = "What was pulled before is damaged."
_START_AGAIN = "Start that one again: it pulls the bundle again."


class RegistryBundles:
    """Brings bundles of a registry into the cache folder, when they are first asked for and while a stream runs.

    Args:
        options: How to follow; without a trial.
        preparation: What is done with a new bundle before it is used; None for nothing.
        log: Called with a line for each step.
        patience_s: How long another process that keeps a folder may leave a bundle in it that cannot be used here, in
            seconds.
    """

    def __init__(
        self,
        options: FollowOptions,
        preparation: Preparation | None = None,
        *,
        log: Callable[[str], None] = lambda text: None,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._options, self._preparation, self._log = options, preparation, log
        self._patience_s = patience_s
        self._folders: dict[str, Path] = {}

    def folder(self, address: str) -> Path:
        """The folder of a bundle: the one that the registry has now, else the one that was pulled before.

        The registry is asked once for each address.

        Raises:
            UsageError: It is no address, or the registry has no such bundle, and none was pulled before.
            DeviceError: The registry does not answer, and none was pulled before.
            BundleError: The bundle is not signed as asked, damaged or does not run here, and none was pulled before.
            EdgeAdError: A damaged engine could not be built again.
        """
        if address not in self._folders:
            root = self._brought(ArtifactReference.parse(address))
            if self._preparation is not None:
                self._preparation.mend(root)
            self._folders[address] = root
        return self._folders[address]

    def check_trust(self, root: Path) -> None:
        """Refuse a bundle that is not signed as asked: other processes may follow into the same folder.

        Args:
            root: A folder that `folder` gave.

        Raises:
            SignatureError: None of the keys had signed it.
        """
        if not is_vouched_for(root, self._options.trusted):
            message = f"{root} holds a bundle of another process, which was not checked for a key that is trusted here."
            raise SignatureError(message, _SAME_TRUST)

    @contextmanager
    def following(self, address: str, tell: Callable[[FollowState], None], *, every_s: float) -> Iterator[None]:
        """Inside, the folder of a tag is kept at what the tag names, in a thread.

        Args:
            address: The tag; for a digest there is nothing to do.
            tell: Told of the state after each look at the tag, in the thread.
            every_s: Time between two looks, in seconds.
        """
        reference, is_over = ArtifactReference.parse(address), threading.Event()
        arguments = (self._follower(reference), every_s, tell, is_over)
        thread = threading.Thread(target=self._follow, args=arguments, name="stream-follow", daemon=True)
        if not reference.is_pinned:
            thread.start()
        try:
            yield
        finally:
            is_over.set()
            if self._preparation is not None:
                self._preparation.cancel()
            if thread.ident is not None:
                thread.join(_JOIN_S)  # a download that hangs is abandoned: the folder is whole all the same

    def _brought(self, reference: ArtifactReference) -> Path:
        root, follower = cached_folder(reference), self._follower(reference)
        _remove_remains(root)
        until, told = time.monotonic() + self._patience_s, False
        while True:
            try:
                with follower.alone():
                    return self._looked_for(follower, reference, root)
            except FolderTakenError:
                problem = self._problem_of(reference, root)
            if not problem or not told:
                bundle = "waiting for its bundle" if problem else "its bundle is used"
                self._log(f"Another process follows {reference.words}; {bundle}.")
                told = True
            if not problem:
                return root
            if time.monotonic() > until and _is_pulled(root, reference):
                hint = _START_AGAIN if problem == _DAMAGED else _SAME_TRUST
                raise BundleError(f"Another process follows {reference.words}. {problem}", hint)
            time.sleep(_POLL_S)

    def _looked_for(self, follower: Follower, reference: ArtifactReference, root: Path) -> Path:
        if not root.exists():
            follower.forget_refusals()
        state = follower.check()
        problem = self._problem_of(reference, root)
        if problem:
            found = follower.problem or BundleError(f"{reference.words} is not used: {state.message}")
            raise type(found)(f"{found.message} {problem}", found.hint)
        if state.step != "current":
            self._log(f"The bundle that was pulled before is used: {state.digest}")
        return root

    def _problem_of(self, reference: ArtifactReference, root: Path) -> str:
        """Why what was pulled before cannot be used, in words; empty if it can."""
        if not _is_pulled(root, reference):
            return f"No bundle of {reference.words} was pulled here before."
        if not is_vouched_for(root, self._options.trusted):
            return "What was pulled before is not known to be signed by a key that is trusted now."
        try:
            Bundle.open(root)
        except EdgeAdError:
            return _DAMAGED
        return ""

    def _follower(self, reference: ArtifactReference) -> Follower:
        steps = [] if self._preparation is None else self._preparation.steps()
        return Follower(reference, cached_folder(reference), steps, self._options, log=self._log)

    def _follow(
        self, follower: Follower, every_s: float, tell: Callable[[FollowState], None], is_over: threading.Event
    ) -> None:
        while not is_over.wait(every_s):
            try:
                with follower.alone():
                    tell(follower.check())
                    while not is_over.wait(every_s):
                        tell(follower.check())
            except FolderTakenError:
                continue  # what the other one brings is used
            except PreparationCancelledError:
                return
            except (EdgeAdError, OSError) as error:
                self._log(str(error))


def _is_pulled(root: Path, reference: ArtifactReference) -> bool:
    origin = read_origin(root)
    return origin is not None and origin.reference == reference.words


def _remove_remains(root: Path) -> None:
    """Remove a folder of the cache that lost the manifest of its bundle, as after a power cut: it is pulled again."""
    with one_at_a_time(root.parent, quietly=True):  # whoever exchanges the folder holds this too
        if root.is_dir() and not (root / MANIFEST_FILE).is_file():
            shutil.rmtree(root, ignore_errors=True)


def cached_folder(reference: ArtifactReference) -> Path:
    """Where the bundle of a reference is kept; each reference has a folder of its own."""
    # Neither names nor tags hold a plus sign.
    host, repository, name = (
        part.replace("/", "+").replace(":", "+") for part in (reference.host, reference.repository, reference.name)
    )
    return cache_folder() / "bundles" / host / repository / name
