"""One stream from its first frame to its summary, as `edge-ad stream`, the demo and the benchmarks run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from edge_ad.errors import StorageError, UsageError
from edge_ad.runtime.engine import Engine
from edge_ad.streaming.active_engine import ActiveEngine, JudgingEngine
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.delivery import Delivery, Observer
from edge_ad.streaming.filters import FilterOptions
from edge_ad.streaming.hot_swap import BundleSwapper, EngineSwaps
from edge_ad.streaming.inference import opencv_beside, warm_up
from edge_ad.streaming.loop import Limits, StopSignals, StreamLoop
from edge_ad.streaming.pipeline import Pipeline, Policy, keeps_newest
from edge_ad.streaming.progress import Progress
from edge_ad.streaming.recipe_switch import RunningLine
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.sources.selection import as_one_source
from edge_ad.streaming.statistics import Summary
from edge_ad.streaming.verdicts import CountingObserver
from edge_ad.streaming.watchdog import Watchdog

__all__ = ["Limits", "Progress", "run_stream"]


def run_stream(
    engine: Engine,
    source: Source | Sequence[Source],
    *,
    threshold: float,
    sinks: Sequence[Sink] = (),
    observers: Sequence[Observer] = (),
    limits: Limits | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    control: StreamControl | None = None,
    policy: Policy = "auto",
    batch: int | None = None,
    filters: FilterOptions | None = None,
    swapper: BundleSwapper | None = None,
    watchdog: Watchdog | None = None,
) -> Summary:
    """Judge the frames of one or several sources until they end, a limit is reached, or a signal to end comes.

    Those are SIGINT, SIGTERM and, unless it is ignored, SIGHUP.

    Args:
        engine: An open engine; the caller closes it, unless the swapper does when another one takes over.
        source: Sources that are not open yet; opened and closed here. Several are judged in turns.
        threshold: Raw score above which a frame is defective.
        sinks: Where results go, in this order; opened and closed here.
        observers: See every result in its order; the events they give go to the sinks.
        limits: When to end; None for no limit.
        on_progress: Called for every frame, and at least about every 0.1 s, in this thread.
        control: The handle for watching and controlling the stream; its threshold becomes ``threshold``.
        policy: ``"newest"`` drops frames that are not judged in time, ``"every"`` drops none, ``"auto"`` is newest for
            live sources and every for others.
        batch: Frames per call of the engine; None has several calls in flight instead.
        filters: Region, frame health and trigger; None judges every frame as it is.
        swapper: Opens the bundles that the control asks for; None refuses them.
        watchdog: Told that the stream is alive; None for systemd's, if it started this process.

    Returns:
        What the stream did; ``ended_by`` says why it ended.

    Raises:
        UsageError: No source, a batch below 1, or a source of another depth than the bundle's photos.
        DataError: A file that cannot be read.
        DeviceError: A camera or stream that does not answer or was gone for too long.
        StorageError: A sink that cannot write, or that holds fewer records at the end than frames were judged.
    """
    sources = [source] if isinstance(source, Source) else list(source)
    if not sources:
        raise UsageError("There is no source.", "Use either --camera N or --source PATH_OR_URL.")
    if batch is not None and batch < 1:
        raise UsageError(f"A batch has at least one frame, not {batch}.")
    control = control or StreamControl(threshold)
    swaps = EngineSwaps(control, swapper)
    first, filters = swaps.first(engine, threshold), filters or FilterOptions()
    control.use_bundle(control.bundle, threshold, first.mark, first.number)
    swaps.announce()
    for item in sources:
        item.expect_bits(first.photos.significant_bits, takes_8_bits=filters.takes_8_bits)
    warm = _WarmUp(sources, policy, batch)
    with StopSignals() as signals, opencv_beside(engine.describe()), ExitStack() as stack:
        trigger = filters.trigger
        cancels = [item.cancel for item in sources]
        with signals.ending(cancels if trigger is None else [*cancels, trigger.cancel]):
            for item in sources:
                stack.enter_context(item)
            if trigger is not None:
                stack.enter_context(trigger)
        is_live = any(keeps_newest(item, policy) for item in sources)
        delivery = Delivery(sinks, observers, as_one_source(sources), control, every_frame_counts=not is_live)
        stack.enter_context(delivery)
        warm(JudgingEngine(engine, control.bundle, threshold))
        active = ActiveEngine(first, swaps.taken_over, swaps.unused)
        counts = _counting(observers)
        pipeline = Pipeline(active, sources, control, policy=policy, batch=batch, filters=filters, counts=counts)
        stack.enter_context(pipeline)
        swaps.start(RunningLine(active, control, warm, sources, lambda: pipeline.frame_sizes))
        loop = StreamLoop(
            pipeline,
            sources,
            control,
            delivery,
            swaps,
            limits or Limits(),
            signals,
            watchdog or Watchdog(),
            trigger,
        )
        ended_by = loop.run(on_progress)
    summary = loop.summary(ended_by)
    _check_recorded(summary)
    return summary


def _counting(observers: Sequence[Observer]) -> Callable[[str], bool]:
    """Reason → whether a frame that is not judged for it counts for an observer, and so gets a verdict."""
    counts = [observer.counts for observer in observers if isinstance(observer, CountingObserver)]
    return lambda reason: any(counted(reason) for counted in counts)


def _check_recorded(summary: Summary) -> None:
    for name, rows in summary.recorded.items():
        if rows != summary.frames:
            message = f"{name} holds {rows} of the {summary.frames} frames that were judged."
            raise StorageError(message, "Make sure that no other program changes its file while a stream runs.")


@dataclass(frozen=True)
class _WarmUp:
    """Warms up an engine for the way in which this stream will use it."""

    sources: Sequence[Source]
    policy: Policy
    batch: int | None

    def __call__(self, judging: JudgingEngine) -> None:
        is_live = any(keeps_newest(source, self.policy) for source in self.sources)
        is_batched = self.batch is not None and self.batch > 1
        in_flight = not is_live or (len(self.sources) > 1 and self.batch != 1) or is_batched
        warm_up(judging.engine, one_at_a_time=is_live or is_batched, in_flight=in_flight, batch=self.batch)
