"""The graphs of a run's bundle: which precisions a backend gains from, each made where it is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_ad.bundle import Bundle
from edge_ad.errors import BundleError, DeviceError, EngineCrashError, QualityGateError
from edge_ad.manifest import Precision
from edge_ad.runtime.backend import backend_names, get_backend, probe_backend
from edge_ad.runtime.verification import check_opens

if TYPE_CHECKING:
    from edge_ad.calibration.ranges import RangeChoice
    from edge_ad.export.recipes import Listeners, Recipe, RecipeOptions
    from edge_ad.training.runs import Run

__all__ = ["GraphOptions", "graphs_of_run", "recipes_of", "runnable", "with_precision"]

Log = Callable[[str], None]


@dataclass(frozen=True)
class GraphOptions:
    """How the graphs of a run are made. Where nothing is given, a graph that is there is taken however it was made.

    Attributes:
        max_drop: Largest drop of image and pixel AUROC in the accuracy gate.
        ranges: How ranges follow from the calibration images.
        calibration_images: Folder of the user's own images to calibrate on.
    """

    max_drop: float | None = None
    ranges: RangeChoice | None = None
    calibration_images: Path | None = None

    def of_recipe(self, backend: str) -> RecipeOptions:
        """The options of a recipe, with its defaults where nothing is given."""
        from edge_ad.calibration.gate import GateLimits
        from edge_ad.export.recipes import RecipeOptions

        limits = GateLimits() if self.max_drop is None else GateLimits.of_drop(self.max_drop)
        return RecipeOptions(backend, limits, self.ranges or "auto", self.calibration_images)


_ANY = GraphOptions()


def runnable(bundle: Bundle, backend: str) -> list[Precision]:
    """The precisions of a bundle that a backend runs on this machine."""
    chosen = get_backend(backend)
    return [name for name in bundle.manifest.graphs if not chosen.precision_problem(name)]


def recipes_of(precision: Precision) -> list[Recipe]:
    """The recipes that lead to a graph of a precision, that of its base first; none for FP32."""
    # torch and onnx are needed from here on only: a bundle alone is built without them.
    from edge_ad.export.bf16 import Bf16Recipe
    from edge_ad.export.fp16 import Fp16Recipe
    from edge_ad.export.int8 import Int8Recipe

    known: tuple[Recipe, ...] = (Int8Recipe(), Fp16Recipe(), Bf16Recipe("fp32"), Bf16Recipe("int8"))
    found = next((recipe for recipe in known if recipe.precision == precision), None)
    return [] if found is None else [*recipes_of(found.base), found]


def with_precision(
    run: Run,
    bundle: Bundle,
    precision: Precision,
    options: RecipeOptions,
    listeners: Listeners,
    *,
    any_options: bool = False,
    force: bool = False,
    sensitivity: bool = False,
) -> Bundle:
    """A run's bundle with the graph of a precision, and with those that it is made of; FP32 is there.

    Args:
        run: The run.
        bundle: Its bundle.
        precision: The precision.
        options: How to make the graphs.
        listeners: Told about each step.
        any_options: Take a graph that is there however it was made.
        force: Make the graphs even if they are there.
        sensitivity: Measure what each layer does alone too.

    Raises:
        BundleError: The method gains nothing from the precision.
        DataError: The calibration images cannot be used.
        DeviceError: The gate cannot run here.
        QualityGateError: The gate fails.
    """
    from edge_ad.export.recipes import Calibration, add_graph, is_current

    for recipe in recipes_of(precision):
        calibration = Calibration(run, bundle, options, listeners)
        if not force and is_current(recipe, calibration, any_options=any_options):
            listeners.log(f"The {recipe.precision} graph is up to date.")
        else:
            bundle = add_graph(recipe, calibration, force=force)
        if sensitivity:
            bundle = recipe.add_sensitivity(Calibration(run, bundle, options, listeners))
    return bundle


def graphs_of_run(
    run_root: Path,
    backend: str,
    asked_for: Sequence[Precision] | None,
    log: Log,
    options: GraphOptions = _ANY,
) -> tuple[Bundle, list[Precision]]:
    """Export a run where that is needed, and make the graphs that are missing.

    Args:
        run_root: Folder of the run.
        backend: Backend they are for.
        asked_for: Precisions; None for every one that the backend gains from and that passes its accuracy gate.
        log: Told about each step.
        options: How to make them; one that was made otherwise is made again.

    Returns:
        The bundle, and which of the precisions it has now.

    Raises:
        BundleError: The method gains nothing from a precision that was asked for.
        DataError: The calibration images cannot be used.
        DeviceError: Nothing here can run the gate.
        QualityGateError: A precision that was asked for fails its gate.
    """
    from edge_ad.export.recipes import Listeners
    from edge_ad.training.runs import load_run

    run = load_run(run_root)
    bundle = _exported(run, log)
    wanted, listeners, as_made = options.of_recipe(_gate_backend(bundle, backend, log)), Listeners(log), options == _ANY
    if asked_for is not None:
        for precision in asked_for:
            bundle = with_precision(run, bundle, precision, wanted, listeners, any_options=as_made)
        return bundle, list(asked_for)
    made: list[Precision] = []
    for precision in _worth_having(backend):
        if reason := _why_not_worth(bundle, precision):
            log(f"Without {precision}: {reason}.")
            continue
        try:
            bundle = with_precision(run, bundle, precision, wanted, listeners, any_options=as_made)
        except (BundleError, DeviceError, QualityGateError) as error:
            log(f"Without {precision}: {error.message}")
            bundle = Bundle.open(bundle.root)  # a graph that the precision was to be made of may be new
        else:
            made.append(precision)
    return bundle, made


def _worth_having(backend: str) -> list[Precision]:
    chosen = get_backend(backend)
    return [name for name in chosen.worth_building if not chosen.precision_problem(name)]


def _why_not_worth(bundle: Bundle, precision: Precision) -> str:
    if precision in bundle.manifest.graphs:
        return ""
    return next((reason for recipe in recipes_of(precision) if (reason := recipe.why_not_worth(bundle))), "")


def _gate_backend(bundle: Bundle, name: str, log: Log) -> str:
    """Where the accuracy gate runs: a plan may be for another machine, and its graph is the one that others run."""
    if not get_backend(name).runs_plans_only:
        check_opens(bundle, name, "fp32", "graph")
        return name
    for candidate in backend_names():
        if not get_backend(candidate).runs_plans_only and probe_backend(candidate).available:
            try:
                check_opens(bundle, candidate, "fp32", "graph")
            except (DeviceError, EngineCrashError) as error:
                log(f"The accuracy gate cannot run in {candidate}: {error.message}")
            else:
                return candidate
    raise DeviceError("No backend can run the accuracy gate here.", "Install one: pip install onnxruntime")


def _exported(run: Run, log: Log) -> Bundle:
    from edge_ad.export.bundle_export import export_run, is_current

    bundle = is_current(run)
    if bundle is None:
        return export_run(run, log)
    log(f"The bundle {bundle.root} is up to date.")
    return bundle
