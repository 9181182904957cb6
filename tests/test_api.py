"""The Python API: what the README shows, in one process and, from `load` on, in one without torch."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edge_ad as ead
from edge_ad.errors import UsageError

_SIZE = 64


def _disc(rng: np.random.Generator, *, has_scratch: bool = False) -> np.ndarray:
    image = np.full((_SIZE, _SIZE, 3), 90, np.uint8)
    cv2.circle(image, (int(rng.integers(28, 36)), int(rng.integers(28, 36))), 18, (200, 160, 120), -1)
    if has_scratch:
        cv2.line(image, (24, 28), (42, 40), (10, 10, 10), 3)
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dozen discs, six of them with a scratch, as MVTec has its products."""
    root, rng = tmp_path_factory.mktemp("api") / "discs", np.random.default_rng(0)
    for folder, count, has_scratch in (("train/good", 18, False), ("test/good", 6, False), ("test/scratch", 6, True)):
        (root / folder).mkdir(parents=True)
        for index in range(count):
            cv2.imwrite(str(root / folder / f"{index:02d}.png"), _disc(rng, has_scratch=has_scratch))
    return root


@pytest.fixture(scope="module")
def run(product: Path) -> ead.Run:
    return ead.train(product, "patch-gaussian", runs=product.parent / "runs", size=_SIZE, rank=4)


@pytest.fixture(scope="module")
def bundle(run: ead.Run, product: Path) -> ead.Bundle:
    return run.export(product.parent / "discs.bundle", precision="fp32", backend="onnxruntime")


def test_run_is_opened_again_by_its_folder(run: ead.Run) -> None:
    again = ead.Run(run.root)
    assert (again.method, again.record.parameters["size"]) == ("patch-gaussian", _SIZE)
    assert "patch-gaussian" in repr(again)


def test_a_product_by_a_relative_path_is_trained_on(
    product: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "screw").symlink_to(product)
    monkeypatch.chdir(tmp_path)
    run = ead.train("./screw", "patch-gaussian", size=_SIZE, rank=4)
    assert set(run.record.good_scores) == {f"train/good/{index:02d}.png" for index in range(18)}


def test_exported_bundle_judges_like_the_run(run: ead.Run, bundle: ead.Bundle, product: Path) -> None:
    of_run, of_bundle = (ead.evaluate(target, product, backend="auto") for target in (run, bundle))
    assert of_bundle.scores == pytest.approx(of_run.scores, rel=1e-4)
    assert of_bundle.image_auroc == of_run.image_auroc == 1.0
    assert of_bundle.pro is None  # there are no masks


def test_detectors_are_put_side_by_side(run: ead.Run, bundle: ead.Bundle, product: Path, tmp_path: Path) -> None:
    found = ead.compare([run, bundle.root], product, report=tmp_path / "report", seconds=0.1)
    assert [candidate.metrics["image_auroc"] for candidate in found.candidates] == [1.0, 1.0]
    assert [candidate.threshold is None for candidate in found.candidates] == [True, False]
    assert all(candidate.latency_ms and candidate.size_bytes for candidate in found.candidates)
    assert found.disagreements == ()  # only one of them has a threshold
    assert (tmp_path / "report" / "index.html").is_file()
    with pytest.raises(UsageError, match="nothing to compare"):
        ead.compare([bundle], product, seconds=0.1)


def test_exporting_over_something_else_is_refused(run: ead.Run, product: Path) -> None:
    with pytest.raises(ead.EdgeAdError, match="is not a bundle"):
        run.export(product, precision="fp32", backend="onnxruntime")
    assert (product / "train").is_dir()


def test_a_precision_that_is_none_is_refused_with_the_list(run: ead.Run) -> None:
    with pytest.raises(UsageError, match=r"no precision 'int4'.*int8-bf16"):
        run.export(precision="int4")


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"geometry": "fill"}, {"false_alarm_rate": 2.0}])
def test_wrong_arguments_of_train_are_refused_before_a_run_is_made(
    product: Path, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        ead.train(product, "patch-gaussian", size=64, runs=tmp_path, **wrong)
    assert not any(tmp_path.iterdir())


def test_one_folder_of_good_photos_needs_no_list(product: Path, tmp_path: Path) -> None:
    with pytest.raises(ead.EdgeAdError, match=r"No such folder: .*nowhere"):
        ead.train(good=str(tmp_path / "nowhere"), runs=tmp_path / "runs")


def test_gate_error_carries_what_was_measured(run: ead.Run) -> None:
    from edge_ad.export.build import build_engines
    from edge_ad.export.precisions import GraphOptions

    with pytest.raises(ead.QualityGateError) as failure:
        build_engines(
            run.root, backend="openvino", precisions=("int8",), graph=GraphOptions(max_drop=-1.0)
        )  # which nothing passes
    assert set(failure.value.report) >= {"passed", "checks", "limits"}


def test_everything_that_is_listed_can_be_had() -> None:
    for name in ead.__all__:
        assert getattr(ead, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = ead.no_such_name  # type: ignore[attr-defined] # what is under test


def test_import_loads_nothing_heavy() -> None:
    code = "import sys, edge_ad; print(sorted({'numpy', 'cv2', 'torch', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_verdict_needs_no_torch(bundle: ead.Bundle, product: Path) -> None:
    code = f"""
import sys
sys.modules["torch"] = sys.modules["onnx"] = None  # any import of them fails
import edge_ad as ead
from edge_ad.errors import UsageError
with ead.load({str(bundle.root)!r}, backend="onnxruntime") as detector:
    good = detector.predict({str(product / "test" / "good" / "00.png")!r})
    bad = detector.predict({str(product / "test" / "scratch" / "00.png")!r})
    streamed = [result.is_defective for result in detector.stream({str(product / "test" / "scratch")!r})]
    assert bad.score > detector.threshold, (bad.score, detector.threshold)
    print(bad.is_defective, bool(bad.regions), bad.plot().shape[2], good.score < bad.score, sum(streamed))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "True", "3", "True", "6"], done.stderr
