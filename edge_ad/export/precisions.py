"""The graphs of a run's bundle: which precisions a backend gains from, each made where it is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from edge_ad.bundle import Bundle
from edge_ad.calibration.range_rules import RangeChoice
from edge_ad.errors import BundleError, DeviceError, EngineCrashError, QualityGateError
from edge_ad.manifest import BF16_OF, Precision
from edge_ad.runtime.backend import backend_names, get_backend, probe_backend
from edge_ad.runtime.verification import check_opens

if TYPE_CHECKING:
    from edge_ad.calibration.gate import GateLimits
    from edge_ad.training.runs import Run

__all__ = ["GraphOptions", "graphs_of_run", "runnable"]

Say = Callable[[str], None]

_ENOUGH_INT8 = 0.9  # bfloat16 for the rest gains nothing, and the search for what it may compute takes a minute
_BASE_OF = {variant: base for base, variant in BF16_OF.items()}


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

    @property
    def limits(self) -> GateLimits:
        """Limits of the accuracy gate."""
        from edge_ad.calibration.gate import GateLimits

        return GateLimits() if self.max_drop is None else GateLimits.of_drop(self.max_drop)


_ANY = GraphOptions()


def runnable(bundle: Bundle, backend: str) -> list[Precision]:
    """The precisions of a bundle that a backend runs on this machine."""
    chosen = get_backend(backend)
    return [name for name in bundle.manifest.graphs if not chosen.precision_problem(name)]


def graphs_of_run(
    run_root: Path,
    backend: str,
    asked_for: Sequence[Precision] | None,
    say: Say,
    options: GraphOptions = _ANY,
) -> tuple[Bundle, list[Precision]]:
    """Export a run where that is needed, and make the graphs that are missing.

    Args:
        run_root: Folder of the run.
        backend: Backend they are for.
        asked_for: Precisions; None for every one that the backend gains from and that passes its accuracy gate.
        say: Told about each step.
        options: How to make them; one that was made otherwise is made again.

    Returns:
        The bundle, and which of the precisions it has now.

    Raises:
        BundleError: The method gains nothing from a precision that was asked for.
        DataError: The calibration images cannot be used.
        DeviceError: Nothing here can run the gate.
        QualityGateError: A precision that was asked for fails its gate.
    """
    # torch and onnx are needed from here on only: a bundle alone is built without them.
    from edge_ad.training.runs import load_run

    run = load_run(run_root)
    bundle = _exported(run, say)
    gate = _gate_backend(bundle, backend, say)
    if asked_for is not None:
        for precision in asked_for:
            bundle = _with_graph(run, bundle, precision, gate, options, say)
        return bundle, list(asked_for)
    made: list[Precision] = []
    for precision in _worth_having(backend):
        is_new = precision not in bundle.manifest.graphs
        if precision == "int8-bf16" and is_new and (share := _int8_share(bundle)) > _ENOUGH_INT8:
            say(f"Without int8-bf16: {share:.1%} of the convolutions' arithmetic is INT8 already.")
            continue
        try:
            bundle = _with_graph(run, bundle, precision, gate, options, say)
        except (BundleError, DeviceError, QualityGateError) as error:
            say(f"Without {precision}: {error.message}")
            bundle = Bundle.open(bundle.root)  # a graph that the precision was to be made of may be new
        else:
            made.append(precision)
    return bundle, made


def _worth_having(backend: str) -> list[Precision]:
    chosen = get_backend(backend)
    return [name for name in chosen.worth_building if not chosen.precision_problem(name)]


def _int8_share(bundle: Bundle) -> float:
    """Share of the convolutions' arithmetic that a bundle's INT8 graph does in INT8; 0 where there is none."""
    from edge_ad.export.int8 import read_int8_report

    return float(read_int8_report(bundle).get("macs", {}).get("int8_share", 0.0))


def _gate_backend(bundle: Bundle, name: str, say: Say) -> str:
    """Where the accuracy gate runs: a plan may be for another machine, and its graph is the one that others run."""
    if not get_backend(name).runs_plans_only:
        check_opens(bundle, name, "fp32", "graph")
        return name
    for candidate in backend_names():
        if not get_backend(candidate).runs_plans_only and probe_backend(candidate).available:
            try:
                check_opens(bundle, candidate, "fp32", "graph")
            except (DeviceError, EngineCrashError) as error:
                say(f"The accuracy gate cannot run in {candidate}: {error.message}")
            else:
                return candidate
    raise DeviceError("No backend can run the accuracy gate here.", "Install one: pip install onnxruntime")


def _exported(run: Run, say: Say) -> Bundle:
    from edge_ad.export.bundle_export import export_run, is_current

    bundle = is_current(run)
    if bundle is None:
        return export_run(run, say)
    say(f"The bundle {bundle.root} is up to date.")
    return bundle


def _with_graph(
    run: Run, bundle: Bundle, precision: Precision, backend: str, options: GraphOptions, say: Say
) -> Bundle:
    if precision in _BASE_OF:
        base = cast("Literal['fp32', 'int8']", _BASE_OF[precision])
        return _with_bf16(run, _with_graph(run, bundle, base, backend, options, say), base, options, say)
    if precision == "int8":
        return _with_int8(run, bundle, backend, options, say)
    return _with_fp16(run, bundle, backend, options, say) if precision == "fp16" else bundle


def _with_int8(run: Run, bundle: Bundle, backend: str, options: GraphOptions, say: Say) -> Bundle:
    from edge_ad.export.int8 import CalibrationOptions, calibrate_bundle, has_int8_graph, is_calibrated

    wanted = CalibrationOptions(backend, options.ranges or "auto", options.limits, options.calibration_images)
    is_there = has_int8_graph(bundle) if options == _ANY else is_calibrated(run, bundle, wanted)
    return bundle if is_there else calibrate_bundle(run, bundle, wanted, say)


def _with_fp16(run: Run, bundle: Bundle, backend: str, options: GraphOptions, say: Say) -> Bundle:
    from edge_ad.export.fp16 import Fp16Options, add_fp16_graph, has_fp16_graph, is_fp16_current

    wanted = Fp16Options(backend, options.limits, options.calibration_images)
    is_there = has_fp16_graph(bundle) if options == _ANY else is_fp16_current(run, bundle, wanted)
    return bundle if is_there else add_fp16_graph(run, bundle, wanted, say)


def _with_bf16(run: Run, bundle: Bundle, base: Literal["fp32", "int8"], options: GraphOptions, say: Say) -> Bundle:
    from edge_ad.export.bf16 import Bf16Options, add_bf16_graph, has_bf16_graph, is_bf16_current

    wanted = Bf16Options(base, options.limits, options.calibration_images)
    is_there = has_bf16_graph(bundle, base) if options == _ANY else is_bf16_current(bundle, wanted)
    return bundle if is_there else add_bf16_graph(run, bundle, wanted, say)
