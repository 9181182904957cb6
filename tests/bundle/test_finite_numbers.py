"""A number that is not finite is refused in every document and option: as a limit it lets everything pass."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edge_ad.bundle import Bundle, EngineKey, find_engine, write_engine
from edge_ad.bundle.documents import parse_json
from edge_ad.cli import main
from edge_ad.errors import BundleError
from edge_ad.manifest import GateReport, GraphInfo, MetricsRecord
from edge_ad.training.runs import RunRecord, SplitRecord
from tests.runtime.tiny_bundle import threshold, tiny_bundle

TOKENS = ["NaN", "Infinity", "-Infinity", "1e999", "-1e400"]


def _full_bundle(root: Path) -> Bundle:
    gate = GateReport(passed=True, checks={"map_correlation": 1.0}, limits={"map_correlation": 0.95})
    bundle = tiny_bundle(root, {"fp32": GraphInfo(file="model.onnx", threshold=threshold(), gate=gate)})
    bundle = bundle.with_metrics(MetricsRecord(data="test", engine="e", images=3, values={"image_auroc": 0.9}))
    document = json.loads((root / "manifest.json").read_text())
    document["parameters"] = {"share": 0.5, "deep": {"list": [0.25]}}
    (root / "manifest.json").write_text(json.dumps(document))
    return Bundle.open(root)


def _floats(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every float in a document."""
    if isinstance(value, float):
        yield path
    elif isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _floats(item, (*path, key))


def _with_token(path: Path, where: tuple[Any, ...], token: str) -> None:
    document: Any = json.loads(path.read_text())
    inner = document
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = "@token@"
    path.write_text(json.dumps(document).replace('"@token@"', token))


@pytest.mark.parametrize("token", TOKENS)
def test_every_number_of_a_manifest_is_finite_or_the_bundle_is_refused(tmp_path: Path, token: str) -> None:
    bundle = _full_bundle(tmp_path / "line")
    manifest = bundle.root / "manifest.json"
    sound = manifest.read_text()
    places = list(_floats(json.loads(sound)))
    assert len(places) >= 9
    for where in places:
        _with_token(manifest, where, token)
        with pytest.raises(BundleError, match="finite"):
            Bundle.open(bundle.root)
        manifest.write_text(sound)
    Bundle.open(bundle.root)


@pytest.mark.parametrize("token", TOKENS)
def test_every_number_of_an_engine_is_finite_or_it_is_refused(tmp_path: Path, token: str) -> None:
    bundle = tiny_bundle(tmp_path / "line")
    key = EngineKey("openvino", "fp32", "here", "1.0")
    engine = write_engine(bundle, key, lambda folder: {})
    sidecar = engine.path / "engine.json"
    document = json.loads(sidecar.read_text())
    document["latency_ms"] = 1.5
    sidecar.write_text(sound := json.dumps(document))
    for where in _floats(document):
        _with_token(sidecar, where, token)
        with pytest.raises(BundleError, match="finite"):
            find_engine(bundle, key)
        sidecar.write_text(sound)
    assert find_engine(bundle, key) is not None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_record_that_is_not_finite_cannot_even_be_made(value: float) -> None:
    with pytest.raises(ValidationError):
        threshold(value)
    with pytest.raises(ValidationError):
        GateReport(passed=True, checks={"map_correlation": value}, limits={})
    with pytest.raises(ValidationError):
        MetricsRecord(data="d", engine="e", images=1, values={"image_auroc": value})
    with pytest.raises(ValidationError):
        RunRecord(
            method="m",
            parameters={"deep": [value]},
            status="finished",
            product_root="p",
            product_name="p",
            split=SplitRecord(seed=0, fit={}, calibrate={}, threshold={}),
            created="2026-01-01",
        )


@pytest.mark.parametrize("token", TOKENS)
def test_json_with_numbers_that_json_does_not_have_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        parse_json(f'{{"a": [{token}]}}'.encode())
    assert parse_json(b'{"a": [1e308, -0.0, 3]}') == {"a": [1e308, -0.0, 3]}


@pytest.mark.parametrize(
    "words",
    [
        ("stream", "--source", "x.mp4", "--threshold"),
        ("stream", "--source", "x.mp4", "--max-seconds"),
        ("stream", "--source", "x.mp4", "--hysteresis"),
        ("stream", "--source", "x.mp4", "--keep-ng-days"),
        ("records", "list", "x.sqlite", "--min-score"),
        ("benchmark", "bundle", "--seconds"),
        ("build-engine", "bundle", "--max-drop"),
    ],
    ids=lambda words: words[-1],
)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_an_option_that_is_not_finite_is_a_usage_error(
    words: tuple[str, ...], value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, value]) == 2
    said = capsys.readouterr().err
    assert words[-1] in said
    assert "bug" not in said


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("verb", [("stream", "--source", "none.mp4", "--bundle"), ("verify",), ("inspect",)])
def test_a_bundle_whose_threshold_is_not_finite_is_refused_by_every_verb(
    tmp_path: Path, verb: tuple[str, ...], token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tiny_bundle(tmp_path / "line")
    _with_token(bundle.root / "manifest.json", ("graphs", "fp32", "threshold", "value"), token)
    assert main([*verb, str(bundle.root)]) == 1
    assert "not a finite number" in capsys.readouterr().err
