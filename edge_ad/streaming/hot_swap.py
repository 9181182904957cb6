"""Bundle hot swap: open, warm up and check the next bundle while the stream runs, or refuse it."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edge_ad.bundle import Bundle
from edge_ad.bundle.bundle import MANIFEST_FILE
from edge_ad.errors import BundleError, DeviceError, EdgeAdError
from edge_ad.runtime import open_engine
from edge_ad.runtime.backend import get_backend
from edge_ad.runtime.engine import Engine
from edge_ad.runtime.kserve import ServerAddress, served_engine
from edge_ad.runtime.verification import EngineIdentity, Verification
from edge_ad.streaming.active_engine import ActiveEngine, JudgingEngine
from edge_ad.streaming.control import BundleFacts, StreamControl, SwapRequest
from edge_ad.streaming.frame import Event

__all__ = ["BundleSwapper", "EngineSwaps", "OpenBundle", "open_bundle", "open_served_bundle"]

_log = logging.getLogger(__name__)
_JOIN_TIMEOUT_S = 60.0
_POLL_S = 0.5


@dataclass(frozen=True)
class OpenBundle:
    """A bundle whose engine is open.

    Attributes:
        judging: The engine and what is known about it.
        stack: Closes the engine; closing it again has no effect.
    """

    judging: JudgingEngine
    stack: ExitStack


Opener = Callable[[Path], OpenBundle]


def open_bundle(
    path: Path,
    *,
    backend: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    verification: Verification | None = None,
) -> OpenBundle:
    """Open a bundle and its engine, after the engine has reproduced the outputs that the bundle recorded.

    Args:
        path: Folder of the bundle.
        backend: ``"auto"`` or a backend's name.
        precision: ``"auto"`` or a precision.
        threads: CPU threads; 0 lets the backend decide.
        verification: Verifies the engine; None for one that needs recorded outputs.

    Raises:
        EdgeAdError: It is broken, cannot run here, does not give the recorded outputs, or has none.
    """
    before = _manifest_hash(path)
    bundle = Bundle.open(path)
    if _manifest_hash(path) != before:
        raise BundleError(
            f"{path} changed while it was opened.", "Write a bundle's manifest last, or rename its folder."
        )
    verification = verification or Verification()
    verified = verification(bundle, backend=backend, precision=precision, threads=threads)
    try:
        return _opened(bundle, verified, threads, before)
    except DeviceError as error:  # it has been verified when it was loaded
        if verified.open_from == "graph" or get_backend(verified.backend).runs_plans_only:
            raise
        _log.warning("%s Its graph is compiled instead.", error.message)
    choice = {"backend": verified.backend, "precision": verified.precision}
    return _opened(bundle, verification(bundle, **choice, threads=threads, open_from="graph"), threads, before)


def _opened(bundle: Bundle, verified: EngineIdentity, threads: int, manifest_hash: str) -> OpenBundle:
    """Open exactly what was verified."""
    choice = {"backend": verified.backend, "precision": verified.precision}
    engine = open_engine(bundle, **choice, threads=threads, open_from=verified.open_from)
    with ExitStack() as stack:
        stack.enter_context(engine)
        now = EngineIdentity.of(bundle, verified.backend, verified.precision, verified.open_from)
        if now != verified or engine.describe().source != verified.source or verified.manifest != manifest_hash:
            raise BundleError(f"{bundle.root} or its engine changed while it was verified.", "Try again.")
        return OpenBundle(_judging(bundle, engine, manifest_hash), stack.pop_all())


def _judging(bundle: Bundle, engine: Engine, manifest_hash: str) -> JudgingEngine:
    description, threshold, manifest = engine.describe(), engine.threshold.value, bundle.manifest
    facts = BundleFacts(
        name=manifest.product or bundle.root.name,
        hash=manifest_hash,
        method=manifest.method,
        precision=description.precision,
        backend=description.backend,
        threshold=threshold,
    )
    return JudgingEngine(engine, facts, threshold, manifest.photos, manifest.product, bundle.scene())


def open_served_bundle(
    path: Path, address: ServerAddress, *, precision: str, timeout_s: float, batch: int
) -> OpenBundle:
    """Open a bundle whose engine is on a server, which has reproduced the outputs that the bundle recorded.

    Args:
        path: Folder of the bundle.
        address: Server and model.
        precision: ``"auto"`` for the server's, or a precision.
        timeout_s: Longest that a call may take, in seconds; after it the server counts as lost and is waited for.
        batch: Frames that the stream gives in one call.

    Raises:
        EdgeAdError: The bundle is broken, or the server does not answer, or has another model.
    """
    bundle = Bundle.open(path)
    with ExitStack() as stack:
        engine = served_engine(bundle, address, precision=precision, timeout_s=timeout_s, batch=batch)
        stack.enter_context(engine)
        return OpenBundle(_judging(bundle, engine, _manifest_hash(path)), stack.pop_all())


def _manifest_hash(path: Path) -> str:
    manifest = path / MANIFEST_FILE
    return hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest.is_file() else ""


class BundleSwapper:
    """Opens requested bundles in its own thread, and offers their engines to the active engine.

    Args:
        opener: Opens and checks a bundle, as `open_bundle` does.
        first: The bundle to start with; closed when another one has taken over, or at the end.
        watched: Folder whose manifest is checked twice a second; a change requests it. None watches nothing.
        any_product: Whether the watched bundle may be replaced by one of another product.
        cancel: Cancels the opening of a bundle; called when the stream ends.

    Attributes:
        first: The engine to start with.
    """

    def __init__(
        self,
        opener: Opener,
        first: OpenBundle,
        watched: Path | None = None,
        cancel: Callable[[], None] = lambda: None,
        *,
        any_product: bool = False,
    ) -> None:
        self.first = first.judging
        self._opener, self._watched, self._cancel = opener, watched, cancel
        self._any_product = any_product
        self._stacks = {id(first.judging): first.stack}
        self._retired: list[ExitStack] = []
        self._asked: tuple[Path, str] | None = None
        self._is_ending = False
        self._changed = threading.Condition()
        self._seen = self._newest = _stamp(watched)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> BundleSwapper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, active: ActiveEngine, control: StreamControl, warm_up: Callable[[JudgingEngine], None]) -> None:
        """Start serving a stream.

        Args:
            active: The active engine to replace.
            control: Gives requests, and takes the outcome as an event.
            warm_up: Warms up an engine.
        """
        self._active, self._control, self._warm_up = active, control, warm_up
        self._thread = threading.Thread(target=self._serve, name="stream-swap", daemon=True)
        self._thread.start()

    def taken_over(self, old: JudgingEngine) -> None:
        """Have the replaced engine closed; called by the judging thread."""
        with self._changed:
            self._retired.append(self._stacks.pop(id(old)))
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread and close every engine; called when no engine is in use any more."""
        with self._changed:
            self._is_ending = True
            self._changed.notify_all()
        self._cancel()
        if self._thread is not None:
            self._thread.join(_JOIN_TIMEOUT_S)  # finish opening a bundle first
        with self._changed:
            stacks = [*self._retired, *self._stacks.values()]
            self._retired, self._stacks = [], {}
        for stack in stacks:
            stack.close()

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_ending or self._retired, _POLL_S)
                if self._is_ending:
                    return
                retired, self._retired = self._retired, []
            for stack in retired:
                self._let_go(stack)
            asked = self._control.take_swap() or self._watched_change()
            if asked is not None:
                self._prepare(asked)

    def _let_go(self, stack: ExitStack) -> None:
        """Close a replaced engine; if that fails, bundles are still swapped."""
        try:
            stack.close()
        except Exception as error:
            text = f"The engine that judged before could not be closed: {type(error).__name__}: {error}"
            self._control.emit(Event("alarm", time.time(), text=text, data={"alarm": "engine"}))

    def _watched_change(self) -> SwapRequest | None:
        before, self._newest = self._newest, _stamp(self._watched)
        # A manifest that has not changed for half a second is complete.
        if self._watched is None or self._newest in (None, self._seen) or self._newest != before:
            return None
        self._seen = self._newest
        return SwapRequest(self._watched, "watched folder", self._any_product)

    def _prepare(self, asked: SwapRequest) -> None:
        path, by = asked.path, asked.by
        try:
            opened = self._opener(path)
            try:
                _check_fit(opened.judging, self._active.now, any_product=asked.any_product)
                self._warm_up(opened.judging)
            except BaseException:
                opened.stack.close()
                raise
        except (EdgeAdError, OSError) as error:
            self._refuse(path, by, str(error))
        except Exception as error:  # whatever is wrong with it, the present one stays in use
            self._refuse(path, by, f"{type(error).__name__}: {error}")
        else:
            self._offer(opened)

    def _offer(self, opened: OpenBundle) -> None:
        with self._changed:
            self._stacks[id(opened.judging)] = opened.stack
            unused = self._active.offer(opened.judging)
            if unused is not None:
                self._retired.append(self._stacks.pop(id(unused)))

    def _refuse(self, path: Path, by: str, why: str) -> None:
        text = f"The bundle {path} was refused, and the present one stays in use: {' '.join(why.split())}"
        data = {"path": str(path), "by": by, "why": why, "bundle": self._control.bundle["hash"]}
        self._control.emit(Event("bundle refused", time.time(), text=text, data=data))


def _check_fit(coming: JudgingEngine, now: JudgingEngine, *, any_product: bool) -> None:
    """Refuse a bundle of another product, or one whose photos the open sources cannot give."""
    if coming.product != now.product and not any_product:
        raise BundleError(
            f"Its product is {coming.product!r}, and that of the present bundle {now.product!r}.",
            "To take it anyway: --any-product, or any_product of swap_bundle.",
        )
    if coming.photos.significant_bits != now.photos.significant_bits:
        depths = [f"{photos.significant_bits or 'unknown'}" for photos in (coming.photos, now.photos)]
        raise BundleError(
            f"Its photos have {depths[0]} significant bits, and those of the present bundle {depths[1]}.",
            "Start another stream with it.",
        )


def _stamp(folder: Path | None) -> tuple[int, int, int] | None:
    """Changes when the manifest is replaced or rewritten; None while there is none."""
    if folder is None:
        return None
    try:
        status = (folder / MANIFEST_FILE).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


class EngineSwaps:
    """The bundle swaps of one stream.

    Args:
        control: Takes an event for each.
        swapper: Opens and closes bundles; None for a stream with one fixed engine.

    Attributes:
        count: How many there were.
    """

    def __init__(self, control: StreamControl, swapper: BundleSwapper | None) -> None:
        self._control, self._swapper = control, swapper
        self.count = 0

    def first(self, engine: Engine, threshold: float) -> JudgingEngine:
        """The engine to start with."""
        if self._swapper is not None:
            return self._swapper.first
        return JudgingEngine(engine, self._control.bundle, threshold)

    def start(self, active: ActiveEngine, warm_up: Callable[[JudgingEngine], None]) -> None:
        """Start serving requests."""
        if self._swapper is not None:
            self._swapper.start(active, self._control, warm_up)

    def refuse_requests(self) -> None:
        """Refuse a request where there is no swapper."""
        asked = None if self._swapper is not None else self._control.take_swap()
        if asked is not None:
            path, by = asked.path, asked.by
            text = f"The bundle {path} was refused: this stream cannot open another one."
            self._control.emit(Event("bundle refused", time.time(), text=text, data={"path": str(path), "by": by}))

    def taken_over(self, old: JudgingEngine, new: JudgingEngine) -> None:
        """Use the new threshold, and report it; called between two frames, in the judging thread."""
        self.count += 1
        before = self._control.threshold
        self._control.use_bundle(new.bundle, new.threshold)
        text = f"The bundle {new.bundle['hash'][:12]} took over, with threshold {new.threshold:g}"
        text += f", {new.threshold_set}." if new.threshold_set else "."
        data = {
            "old": old.bundle["hash"],
            "new": new.bundle["hash"],
            "old_threshold": before,
            "threshold": new.threshold,
        }
        self._control.emit(Event("bundle swapped", time.time(), text=text, data=data))
        if self._swapper is not None:
            self._swapper.taken_over(old)
