"""A precision as a recipe: what a graph of it is made of, the one identity and the one gate, and its report."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from edge_ad import __version__
from edge_ad.bundle import Bundle
from edge_ad.calibration.calibration_set import CalibrationSet, HeldImages, calibration_set
from edge_ad.calibration.gate import AccuracyGate, Gated, GateLimits
from edge_ad.calibration.layers import FloatModules
from edge_ad.calibration.ranges import RangeChoice
from edge_ad.errors import BundleError, QualityGateError
from edge_ad.manifest import GraphInfo, Manifest, Precision
from edge_ad.runtime.backend import probe_backend
from edge_ad.strict_json import to_json
from edge_ad.training.runs import Run, good_scores

__all__ = [
    "Calibration",
    "Listeners",
    "Made",
    "Recipe",
    "RecipeOptions",
    "add_graph",
    "identity",
    "is_current",
    "read_report",
    "with_report",
]


@dataclass(frozen=True)
class RecipeOptions:
    """How to make a graph.

    Attributes:
        backend: Backend whose engine must pass the gate.
        limits: What the engine may lose against FP32.
        ranges: How INT8's ranges follow from what was measured; ``auto`` has one rule for a backbone and one for what
            follows it.
        calibration_images: Folder of the user's own images to calibrate on; None for those of the run.
    """

    backend: str
    limits: GateLimits = field(default_factory=GateLimits)
    ranges: RangeChoice = "auto"
    calibration_images: Path | None = None


@dataclass(frozen=True)
class Listeners:
    """Who is told what.

    Attributes:
        log: Each step.
        count: How many layers were analysed, and of how many.
    """

    log: Callable[[str], None] = lambda text: None
    count: Callable[[int, int], None] = lambda done, total: None


class Calibration:
    """What every recipe works on; each part is read when it is first needed.

    Args:
        run: The run that the bundle was exported from.
        bundle: Its bundle.
        options: How to make the graph.
        listeners: Told about each step.
    """

    def __init__(
        self, run: Run, bundle: Bundle, options: RecipeOptions, listeners: Listeners | None = None
    ) -> None:
        self.run, self.bundle, self.options = run, bundle, options
        self.listeners = Listeners() if listeners is None else listeners

    @cached_property
    def images(self) -> CalibrationSet:
        """The images that ranges are measured on.

        Raises:
            DataError: They cannot be used.
        """
        run, folder = self.run, self.options.calibration_images
        return calibration_set(run.split, run.product_root, self.bundle.manifest.input_size_hw, folder, run.folders)

    @cached_property
    def held(self) -> HeldImages:
        """Images of the run."""
        return HeldImages(self.run.split, self.images.paths, self.bundle.manifest.input_size_hw)

    @cached_property
    def model(self) -> ModelProto:
        """The bundle's float graph."""
        return self.graph("fp32")

    @cached_property
    def modules(self) -> FloatModules:
        """Modules of the detector that stay in float."""
        return FloatModules.of(self.run.detector)

    def graph(self, precision: Precision) -> ModelProto:
        """One of the bundle's graphs."""
        return onnx.load_from_string(self.bundle.graph_bytes(precision))

    def gate(self, backend: str) -> AccuracyGate:
        """The accuracy gate of a backend."""
        threshold = self.bundle.graph("fp32").threshold
        return AccuracyGate(self.model, self.held, backend, self.options.limits, threshold, good_scores(self.run))


@dataclass(frozen=True)
class Made:
    """A graph that passed the gate.

    Attributes:
        graph: It; None where it is the one that it was made of.
        gated: What the gate said.
        report: What is to be known about it, as JSON.
        float32: Its parts that an engine in bfloat16 computes in float32.
    """

    graph: ModelProto | None
    gated: Gated
    report: dict[str, Any]
    float32: list[str] = field(default_factory=list)


class Recipe(ABC):
    """How the graph of a precision is made.

    Attributes:
        precision: The precision.
        base: Precision of the graph that it is made of.
        version: In words; a graph of another version is made again.
    """

    precision: Precision
    base: Precision = "fp32"
    version: str

    @abstractmethod
    def make(self, calibration: Calibration) -> Made:
        """Make a graph that passes the gate.

        Raises:
            BundleError: The method gains nothing from it, or the bundle lacks the graph ``base``.
            DataError: The calibration images cannot be used.
            DeviceError: The gate cannot run here.
            QualityGateError: The gate fails.
        """

    def backend(self, options: RecipeOptions) -> str:
        """Backend whose engine must pass the gate."""
        return options.backend

    def settings(self, options: RecipeOptions) -> dict[str, Any]:
        """Options that it alone depends on."""
        return {}

    def check(self) -> None:
        """Refuse what cannot be made here.

        Raises:
            DeviceError: This machine cannot run it.
        """

    def why_not_worth(self, bundle: Bundle) -> str:
        """Why it gains nothing for a bundle that does not have it; else nothing."""
        return ""

    def pages(self, manifest: Manifest, document: dict[str, Any]) -> dict[str, str]:
        """The report as pages: name inside the bundle → content."""
        return {}

    def facts(self, bundle: Bundle, report: dict[str, Any]) -> dict[str, object]:
        """What a person should know of a graph of it, for the command line."""
        return {}

    def add_sensitivity(self, calibration: Calibration) -> Bundle:
        """Add what each layer does alone to the report, for a recipe that chooses layers."""
        return calibration.bundle


def source(recipe: Recipe, calibration: Calibration) -> dict[str, Any]:
    """What a graph depends on, beside the images of the run, which its base stands for.

    Raises:
        DataError: The calibration images cannot be used.
    """
    options, backend = calibration.options, recipe.backend(calibration.options)
    return {
        "edge-ad": __version__,
        **_origin(recipe, calibration.bundle),
        "backend": f"{backend} {probe_backend(backend).version}",
        "limits": asdict(options.limits),
        "calibration_images": calibration.images.identity,
        **recipe.settings(options),
    }


def identity(recipe: Recipe, calibration: Calibration) -> str:
    """SHA-256 over all that a graph depends on: its base, the options, and the version of the recipe.

    Raises:
        DataError: The calibration images cannot be used.
    """
    return _hash(source(recipe, calibration))


def is_current(recipe: Recipe, calibration: Calibration, *, any_options: bool = False) -> bool:
    """Whether the bundle has the graph of a recipe, made from its present base.

    Args:
        recipe: The recipe.
        calibration: Its bundle and the options.
        any_options: However it was made.

    Raises:
        DataError: The calibration images cannot be used.
    """
    report = read_report(calibration.bundle, recipe.precision)
    if any_options:
        recorded: dict[str, Any] = report.get("source", {})
        return _origin(recipe, calibration.bundle).items() <= recorded.items()
    return bool(report.get("identity") == identity(recipe, calibration))


def add_graph(recipe: Recipe, calibration: Calibration, *, force: bool = False) -> Bundle:
    """Add the graph of a recipe, which passed its gate, with its report.

    A gate that failed is recorded, and not run again while nothing has changed that it depends on.

    Args:
        recipe: The recipe.
        calibration: Its run, bundle and options.
        force: Run a gate again that failed.

    Raises:
        BundleError: The method gains nothing from it, or the bundle lacks its base.
        DataError: The calibration images cannot be used.
        DeviceError: The gate cannot run here.
        QualityGateError: The gate fails; the bundle's graphs are as they were.
    """
    recipe.check()
    bundle, origin = calibration.bundle, source(recipe, calibration)
    head: dict[str, Any] = {"source": origin, "identity": _hash(origin)}
    if not force:
        _refuse_again(bundle, recipe, head["identity"])
    try:
        made = recipe.make(calibration)
    except QualityGateError as error:
        if recipe.precision not in bundle.manifest.graphs:
            failure = {"failure": [error.message, error.hint], "failed_checks": dict(error.report)}
            bundle.with_files(_files(recipe, head | failure))
        raise
    assert made.gated.threshold is not None
    name = bundle.graph(recipe.base).file if made.graph is None else f"model.{recipe.precision}.onnx"
    info = GraphInfo(file=name, threshold=made.gated.threshold, gate=made.gated.report, float32=made.float32)
    files = {} if made.graph is None else {name: made.graph.SerializeToString()}
    return with_report(recipe, bundle, info, head | made.report, files)


def with_report(
    recipe: Recipe, bundle: Bundle, info: GraphInfo, document: dict[str, Any], files: Mapping[str, bytes]
) -> Bundle:
    """A bundle with a graph of a recipe, its report and the pages of it."""
    pages = {name: page.encode() for name, page in recipe.pages(bundle.manifest, document).items()}
    return bundle.with_graph(recipe.precision, info, {**files, **_files(recipe, document), **pages})


def read_report(bundle: Bundle, precision: Precision) -> dict[str, Any]:
    """The report ``precision/<precision>.json``; empty where the bundle has no such graph or report.

    Raises:
        BundleError: The report is damaged.
    """
    name = _report_file(precision)
    if precision not in bundle.manifest.graphs or name not in bundle.manifest.files:
        return {}
    try:
        report = json.loads(bundle.read_file(name))
    except (ValueError, RecursionError) as error:
        raise _not_a_report(bundle, name, str(error)) from error
    if not isinstance(report, dict) or not isinstance(report.get("source", {}), dict):
        raise _not_a_report(bundle, name, "it is another document")
    return report


def _not_a_report(bundle: Bundle, name: str, why: str) -> BundleError:
    return BundleError(
        f"{bundle.root / name} is not a report of a calibration ({why}).",
        f"Make it again: edge-ad calibrate {bundle.root}",
    )


def _refuse_again(bundle: Bundle, recipe: Recipe, wanted: str) -> None:
    name = _report_file(recipe.precision)
    if recipe.precision in bundle.manifest.graphs or name not in bundle.manifest.files:
        return
    try:
        document = json.loads(bundle.read_file(name))
        known, (message, hint) = document["identity"], document["failure"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return  # damaged, or of one that passed: it is made again
    if known == wanted:
        raise QualityGateError(message, hint, document.get("failed_checks"))


def _origin(recipe: Recipe, bundle: Bundle) -> dict[str, Any]:
    return {"recipe": recipe.version, "graph": bundle.graph_sha256(recipe.base)}


def _hash(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _files(recipe: Recipe, document: dict[str, Any]) -> dict[str, bytes]:
    return {_report_file(recipe.precision): (to_json(document, indent=2) + "\n").encode()}


def _report_file(precision: Precision) -> str:
    return f"precision/{precision}.json"
