"""The bundle that a command judges with: a folder, or one in a registry that is pulled into a folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from edge_ad.cli.console import note
from edge_ad.errors import UsageError

if TYPE_CHECKING:
    from edge_ad.cli.stream_options import Registry, StreamEngine
    from edge_ad.detector import Detector
    from edge_ad.fleet.registry_bundles import RegistryBundles
    from edge_ad.fleet.state import FollowState
    from edge_ad.streaming.control import StreamControl

__all__ = ["BundlePlaces", "is_in_registry", "opened_detector"]

_SCHEME = "oci://"


def is_in_registry(place: str) -> bool:
    """Whether a bundle is named by a reference to a registry, and not by a folder."""
    return place.startswith(_SCHEME)


class BundlePlaces:
    """Finds the folders of bundles.

    Args:
        engine: How bundles are run.
        registry: How a registry is asked.
        batch: Frames in one call of an engine.
    """

    def __init__(self, engine: StreamEngine, registry: Registry, batch: int) -> None:
        self._engine, self._asked, self._batch = engine, registry, batch

    def folder(self, place: str | None) -> Path:
        """The folder of a bundle; of the newest one below this folder where none is named.

        Raises:
            UsageError: A signature is asked for, and it is a folder, which has none.
            EdgeAdError: The registry has no such bundle, or it cannot be used, and none was pulled before.
        """
        if place is not None and is_in_registry(place):
            return self._registry.folder(place)
        if self._asked.trust:
            raise UsageError("--trust is about bundles in a registry.", "Name one so: oci://REGISTRY/NAME:TAG.")
        return _newest() if place is None else Path(place)

    def check_trust(self, root: Path) -> None:
        """Refuse a bundle that is not signed as asked, however it came into its folder.

        Raises:
            BundleError: It is not.
        """
        if self._asked.trust:
            self._registry.check_trust(root)

    @contextmanager
    def following(self, place: str | None, control: StreamControl) -> Iterator[None]:
        """Inside, the folder of a tag is kept at what the tag names; what is refused is an event of the stream."""
        if place is None or not is_in_registry(place):
            yield
            return
        with self._registry.following(place, _refusals_to(control), every_s=self._asked.every_s):
            yield

    @cached_property
    def _registry(self) -> RegistryBundles:
        from edge_ad.fleet import read_public_key
        from edge_ad.fleet.follow import FollowOptions
        from edge_ad.fleet.preparation import Preparation
        from edge_ad.fleet.registry_bundles import START_ANSWER_S, RegistryBundles
        from edge_ad.runtime.verification import Verification

        keys = tuple(read_public_key(path) for path in self._asked.trust or ())
        options = FollowOptions(keys, self._asked.plain_http, self._engine.takes_any_product, answer_s=START_ANSWER_S)
        if self._engine.server is not None:  # the engine is there
            return RegistryBundles(options, log=note)
        verification = Verification(allow_unverified=self._engine.allows_unverified, batch=self._batch)
        preparation = Preparation(backend=self._engine.backend, verification=verification, log=note)
        return RegistryBundles(options, preparation, log=note)


@contextmanager
def opened_detector(
    target: str, engine: StreamEngine, registry: Registry, export: Callable[[Path], Path] = lambda folder: folder
) -> Iterator[Detector]:
    """The detector of a bundle, or of a run that holds one.

    Args:
        target: A folder, or ``oci://REGISTRY/NAME:TAG``.
        engine: How it is run.
        registry: How a registry is asked.
        export: Folder → the folder of its bundle.

    Raises:
        EdgeAdError: It cannot be pulled, or cannot be used.
    """
    from edge_ad.detector import load

    places = BundlePlaces(engine, registry, 1)
    root = export(places.folder(target))
    with load(root, backend=engine.backend, precision=engine.precision, threads=engine.threads) as detector:
        places.check_trust(root)  # the folder may have been exchanged in the meantime
        yield detector


def _refusals_to(control: StreamControl) -> Callable[[FollowState], None]:
    """A function that emits an event for each bundle that is refused, once."""
    from edge_ad.streaming.frame import Event

    told: set[str] = set()

    def tell(state: FollowState) -> None:
        if state.step == "refused" and state.message not in told:
            told.add(state.message)
            text = f"The bundle that {state.reference} names was refused, and the present one stays in use: "
            data = {"path": state.reference, "by": "registry", "why": state.message, "bundle": control.bundle["hash"]}
            control.emit(Event("bundle refused", time.time(), text=text + state.message, data=data))

    return tell


def _newest() -> Path:
    from edge_ad.bundle import newest_bundle

    newest = newest_bundle(Path.cwd())
    note(f"Bundle: {newest.root} (the newest here)")
    return newest.root
