"""What every recipe has in common, and what methods and backbones say of precision."""

import ast
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import edge_ad
from edge_ad.bundle import Bundle
from edge_ad.calibration.gate import GateLimits
from edge_ad.calibration.layers import FloatModules
from edge_ad.errors import QualityGateError
from edge_ad.export.bundle_export import export_run
from edge_ad.export.int8 import Int8Recipe
from edge_ad.export.precisions import recipes_of
from edge_ad.export.recipes import Calibration, Recipe, add_graph, identity, is_current, read_report
from edge_ad.manifest import Precision
from edge_ad.models import method_class, method_names, create_detector
from edge_ad.models.backbones import BACKBONES
from edge_ad.training.runs import Run
from tests.export.conftest import OPTIONS
from tests.models.transformer_folders import networks

IMPOSSIBLE = replace(OPTIONS, limits=GateLimits(map_correlation=1.1))


@pytest.fixture(scope="module")
def bare(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of the run with the FP32 graph alone."""
    return export_run(replace(run, root=tmp_path_factory.mktemp("recipes")))


@pytest.fixture
def own(bare: Bundle, tmp_path: Path) -> Bundle:
    """A copy of it."""
    shutil.copytree(bare.root, tmp_path / "bundle")
    return Bundle.open(tmp_path / "bundle")


@pytest.mark.parametrize("method", method_names())
def test_the_modules_that_a_method_keeps_in_float_are_its_own(method: str, tmp_path: Path) -> None:
    detector = create_detector(method, {"size": 64, **networks(method, tmp_path)})
    modules = FloatModules.of(detector)
    assert modules.judging
    for name in modules.judging:
        parent, _, last = name.rpartition(".")
        assert hasattr(detector.get_submodule(parent), last), name  # it may be None with these parameters


@pytest.mark.parametrize("method", method_names())
def test_the_stages_that_a_backbone_keeps_in_float_are_its_own(method: str, tmp_path: Path) -> None:
    detector = create_detector(method, {"size": 64, **networks(method, tmp_path)})
    modules = FloatModules.of(detector)
    assert bool(modules.backbone) is (detector.backbone is not None)
    for name in (*modules.int8_start, *modules.first_blocks, *modules.bf16_start):
        assert isinstance(detector.get_submodule(name), nn.Module)
        assert modules.is_backbone(name)


def test_the_passes_know_no_module_by_name() -> None:
    methods = [method_class(name) for name in method_names()]
    names = {name for method in methods for name in getattr(method, "float_modules", ())}
    parts = {
        part
        for kind in BACKBONES.values()
        for part in (*kind.int8_float_start, *kind.int8_float_blocks, *kind.bf16_float_start)
    }
    root = Path(edge_ad.__file__).parent
    found = [
        f"{path.name}: {text}"
        for folder in ("calibration", "export")
        for path in sorted((root / folder).rglob("*.py"))
        for text in strings(ast.parse(path.read_text()))
        if text in names | parts or "patch_features" in text
    ]
    assert found == []


def strings(tree: ast.Module) -> Iterator[str]:
    """The text constants of a module."""
    return (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


@pytest.mark.parametrize(
    ("precision", "made"),
    [("fp32", []), ("int8", ["int8"]), ("fp16", ["fp16"]), ("bf16", ["bf16"]), ("int8-bf16", ["int8", "int8-bf16"])],
)
def test_the_recipe_of_the_base_comes_first(precision: Precision, made: list[Precision]) -> None:
    assert [recipe.precision for recipe in recipes_of(precision)] == made


@pytest.mark.parametrize("precision", ["int8", "fp16", "bf16"])
def test_one_identity_stands_for_the_base_the_options_and_the_version(
    run: Run, own: Bundle, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipes_of(precision)[-1]
    first = identity(recipe, Calibration(run, own, OPTIONS))
    assert first == identity(recipe, Calibration(run, own, OPTIONS))
    others = [
        replace(OPTIONS, limits=GateLimits()),
        replace(OPTIONS, calibration_images=run.product_root),
    ]
    found = {first, *(identity(recipe, Calibration(run, own, options)) for options in others)}
    monkeypatch.setattr(type(recipe), "version", "another")
    found.add(identity(recipe, Calibration(run, own, OPTIONS)))
    assert len(found) == 4


def test_the_report_carries_the_identity(run: Run, calibrated: Bundle) -> None:
    calibration = Calibration(run, calibrated, OPTIONS)
    assert read_report(calibrated, "int8")["identity"] == identity(Int8Recipe(), calibration)
    assert is_current(Int8Recipe(), calibration)


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_gate_that_failed_is_not_run_again_while_nothing_changes(
    run: Run, own: Bundle, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipes_of(precision)[0]
    tried: list[str] = []

    def fail(recipe: Recipe, calibration: Calibration) -> Any:
        tried.append(recipe.precision)
        raise QualityGateError("It fails.", "Use FP32.")

    monkeypatch.setattr(type(recipe), "make", fail)
    for _ in range(2):
        with pytest.raises(QualityGateError, match="It fails"):
            add_graph(recipe, Calibration(run, Bundle.open(own.root), IMPOSSIBLE))
    assert len(tried) == 1
    for options, force in ((OPTIONS, False), (OPTIONS, True)):
        with pytest.raises(QualityGateError, match="It fails"):
            add_graph(recipe, Calibration(run, Bundle.open(own.root), options), force=force)
    assert len(tried) == 3
    assert Bundle.open(own.root).manifest.graphs == own.manifest.graphs
    assert read_report(Bundle.open(own.root), precision) == {}
