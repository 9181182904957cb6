"""``edge-ad stream``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edge_ad.cli.options import takes_groups
from edge_ad.cli.stream_options import (
    Ending,
    Frames,
    Recipes,
    Registry,
    Sources,
    SourceSettings,
    StreamCommand,
    StreamEngine,
    VerdictOptions,
)
from edge_ad.cli.stream_outputs import Outputs

if TYPE_CHECKING:
    from edge_ad.cli.bundle_places import BundlePlaces
    from edge_ad.cli.stream_recipes import RecipeFolder
    from edge_ad.streaming.delivery import Observer
    from edge_ad.streaming.filters import FilterOptions
    from edge_ad.streaming.frame import RecipeMark
    from edge_ad.streaming.golden import GoldenPlan, GoldenState
    from edge_ad.streaming.hot_swap import BundleSwapper
    from edge_ad.streaming.sinks import Sink
    from edge_ad.streaming.sources import Source
    from edge_ad.streaming.statistics import Summary
    from edge_ad.streaming.warm_bundles import WarmLimits

__all__ = ["COMMAND", "stream"]

COMMAND = StreamCommand

_INTERRUPTED = 130
_LEFT_OUT = frozenset({"not triggered", "paused", "golden check"})  # the line, not the files


@takes_groups
def stream(
    recipes: Recipes,
    engine: StreamEngine,
    registry: Registry,
    sources: Sources,
    settings: SourceSettings,
    frames: Frames,
    verdicts: VerdictOptions,
    outputs: Outputs,
    ending: Ending,
) -> None:
    """Judge the frames of cameras, videos, folders of images or network streams.

    Of a file, every frame is judged. Of a live source, the newest frame is judged; when it is lost, the stream waits
    for its return. Ctrl-C ends the stream and completes its files.
    """
    from edge_ad.cli.bundle_places import BundlePlaces
    from edge_ad.cli.recipe_file import read_golden
    from edge_ad.cli.stream_recipes import check_golden, open_recipes, warm_limits
    from edge_ad.cli.stream_report import print_summary
    from edge_ad.cli.stream_setup import open_filters, open_plc_servers, open_sinks, open_sources, open_users, plc_sinks
    from edge_ad.server import HttpServer, HttpTrigger
    from edge_ad.streaming.golden.history import failed_checks
    from edge_ad.streaming.sources import SourceOptions

    opened = open_sources(sources.cameras or [], sources.uris or [], SourceOptions(**vars(settings)))
    groups = (engine, sources, settings, frames, verdicts, outputs, ending)
    server = HttpServer(outputs.web_token, users=open_users(outputs.web_users), hosts=tuple(outputs.web_hosts or ()))
    plc_servers = open_plc_servers(outputs)
    filters = open_filters(
        frames.region,
        frames.trigger,
        checks_health=frames.checks_health,
        takes_8_bits=frames.takes_8_bits,
        server=server,
        plc_servers=plc_servers,
    )
    has_ids = filters.trigger is not None and filters.trigger.gives_ids
    golden = None if recipes.golden is None else read_golden(recipes.golden)
    runs_free = any(item.is_live for item in opened) and filters.trigger is None and verdicts.part is None
    told_apart: dict[str, Any] = {"has_ids": has_ids, "runs_free": runs_free, "sources": len(opened)}
    check_golden(golden, **told_apart, part=verdicts.part)
    places = BundlePlaces(engine, registry, frames.batch or 1)
    folder = open_recipes(recipes, groups, golden, places.folder, **told_apart)
    observers = _observers(folder, verdicts, has_ids=has_ids)
    sinks = open_sinks(outputs, server)
    sinks += plc_sinks(plc_servers, outputs.gpio, has_parts=verdicts.part is not None)
    if isinstance(filters.trigger, HttpTrigger):
        sinks.append(filters.trigger.answers(len(opened)))
    switching = None if folder is None else (folder, warm_limits(recipes), observers)
    with _swapper(engine, frames.batch or 1, places, switching) as swapper:
        golden = golden or (None if folder is None else folder.first.golden)
        asks = golden is not None or folder is not None
        failed = failed_checks(outputs.database) if asks and outputs.database is not None else {}
        checked = (golden, verdicts.part is not None, failed)
        summary = _run(swapper, opened, engine, places, sinks, observers, filters, frames, ending, checked)
        # Before engines are closed: that waits for a bundle still being opened, and a device may not answer.
        print_summary(summary, as_json=ending.as_json)
    if summary.ended_by == "interrupted":
        raise typer.Exit(_INTERRUPTED)
    _check_whole(opened)
    _check_judged(summary)


def _check_whole(sources: list[Source]) -> None:
    """Fail where a file is cut off: what it lacks was not inspected."""
    from edge_ad.errors import DataError

    for source in sources:
        if source.shortage:
            raise DataError(f"{source.name} {source.shortage}.", "The file is cut off: copy or record it again.")


def _check_judged(summary: Summary) -> None:
    """Fail where files were gone through to their end and no frame of them could be judged."""
    from edge_ad.errors import DataError

    reasons = {"corrupt": summary.corrupt, **summary.unjudged}
    found = [f"{count} {reason}" for reason, count in reasons.items() if count and reason not in _LEFT_OUT]
    if summary.ended_by == "end of source" and not summary.frames and found:
        raise DataError(
            f"No frame of {summary.source} was judged: {', '.join(found)}.",
            "Give what shows such photos as the bundle was trained on.",
        )


def _observers(folder: RecipeFolder | None, verdicts: VerdictOptions, *, has_ids: bool) -> list[Observer]:
    from edge_ad.streaming.verdicts import RecipeObservers, observers_from_options

    if folder is None:
        return observers_from_options(**vars(verdicts), has_ids=has_ids)
    return [RecipeObservers(folder.first, folder.observers)]


def _swapper(
    asked: StreamEngine,
    batch: int,
    places: BundlePlaces,
    switching: tuple[RecipeFolder, WarmLimits, list[Observer]] | None,
) -> BundleSwapper:
    from edge_ad.errors import EdgeAdError
    from edge_ad.runtime.kserve import parse_server_address
    from edge_ad.runtime.verification import Verification
    from edge_ad.streaming.bundle_opening import OpenBundle, open_bundle, open_served_bundle
    from edge_ad.streaming.hot_swap import BundleSwapper
    from edge_ad.streaming.operator_thresholds import OperatorThresholds, with_operator_threshold
    from edge_ad.streaming.recipe import BundleChoice
    from edge_ad.streaming.recipe_switch import RecipeSwitcher
    from edge_ad.streaming.verdicts import RecipeObservers

    verification = Verification(allow_unverified=asked.allows_unverified, batch=batch)
    address = None if asked.server is None else parse_server_address(asked.server)
    served: dict[str, Any] = {"timeout_s": asked.server_timeout_s, "batch": batch}
    _refuse_local_engine(asked)

    def unchecked(choice: BundleChoice) -> OpenBundle:
        if address is None:
            how: dict[str, Any] = {"backend": choice.backend, "precision": choice.precision, "threads": choice.threads}
            return open_bundle(choice.path, **how, verification=verification)
        return open_served_bundle(choice.path, address, precision=choice.precision, **served)

    def opener(choice: BundleChoice) -> OpenBundle:
        places.check_trust(choice.path)
        opened = unchecked(choice)
        try:
            places.check_trust(choice.path)  # the folder may have been exchanged in the meantime
        except EdgeAdError:
            opened.stack.close()
            raise
        return opened

    def chosen(root: Path) -> OpenBundle:
        opened = opener(BundleChoice(root, asked.backend, asked.precision, asked.threads))
        return opened if asked.takes_bundle_threshold else with_operator_threshold(opened)

    if switching is None:
        root = places.folder(asked.bundle)
        watched = root if asked.is_watched else None
        return BundleSwapper(chosen, chosen(root), watched, verification.cancel, any_product=asked.takes_any_product)
    folder, limits, (observers, *_) = switching
    assert isinstance(observers, RecipeObservers)
    switcher = RecipeSwitcher(folder.first, folder, opener, observers.add, limits, OperatorThresholds().of)
    return BundleSwapper(chosen, opener(folder.first.bundle), cancel=verification.cancel, recipes=switcher)


def _refuse_local_engine(asked: StreamEngine) -> None:
    """Refuse options of an engine on this machine beside a server."""
    from edge_ad.errors import UsageError

    if asked.server is not None and (asked.backend != "auto" or asked.threads):
        raise UsageError("--backend and --threads have no effect with --server.", "Leave them out.")


def _run(
    swapper: BundleSwapper,
    sources: list[Source],
    engine: StreamEngine,
    places: BundlePlaces,
    sinks: list[Sink],
    observers: list[Observer],
    filters: FilterOptions,
    frames: Frames,
    ending: Ending,
    checked: tuple[GoldenPlan | None, bool, Mapping[RecipeMark, GoldenState]],
) -> Summary:
    from edge_ad.cli.stream_report import ProgressLine, event_lines
    from edge_ad.streaming.control import StreamControl
    from edge_ad.streaming.golden.observer import GoldenObserver
    from edge_ad.streaming.operator_thresholds import OperatorThresholds, tell_operator_threshold
    from edge_ad.streaming.recipe_switch import switch_event
    from edge_ad.streaming.session import Limits, run_stream

    progress = ProgressLine(sources)
    first, threshold = swapper.first, engine.threshold
    control = StreamControl(first.threshold, first.bundle, OperatorThresholds().keep)
    golden, has_parts, failed = checked
    used = first.threshold if threshold is None else threshold
    control.golden.remember(failed)
    control.golden.use(golden, first.mark, used, first.bundle["hash"])
    if first.recipe is not None:
        control.emit(switch_event(first, first.recipe, "the start of the stream"))
    elif threshold is None and first.threshold_set:
        tell_operator_threshold(control, first)
    followed = engine.bundle if engine.is_watched else None
    try:
        with places.following(followed, control):
            return run_stream(
                first.engine,
                sources,
                threshold=used,
                sinks=[*sinks, event_lines(progress.write_line)],
                observers=[GoldenObserver(observers, control.golden, has_parts=has_parts)],
                limits=Limits(ending.max_frames, ending.max_seconds),
                on_progress=progress,
                control=control,
                policy=frames.policy,
                batch=frames.batch,
                filters=filters,
                swapper=swapper,
            )
    finally:
        progress.end()
