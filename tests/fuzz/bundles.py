"""Bundles whose manifest, graph, reference, engines or reports were changed, through every verb that reads them."""

from __future__ import annotations

import hashlib
import json
import math
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_ad.bundle import Bundle, Reference, write_bundle
from edge_ad.manifest import GateReport, GraphInfo, Manifest, MetricsRecord, SplitInfo, Threshold
from edge_ad.runtime import build_engine
from tests.blue_graph import SIZE_HW, blue_graph
from tests.fuzz.console import run_command
from tests.fuzz.graphs import mutate_graph
from tests.fuzz.mutation import mutate_bytes, mutate_json
from tests.fuzz.target import Target, pack, unpack

__all__ = ["BundleTarget"]

_COMMAND = "command"
_COMPUTING = (".onnx", ".ort", ".blob", ".xml", ".bin")
_BACKENDS = ("onnxruntime", "openvino")
_OFTEN = ("manifest.json", "manifest.json", *["model.onnx"] * 6, *["reference.npz"] * 3)
_VERBS = ("stream", "stream", "stream", "inspect", "evaluate", "verify", "benchmark", "build-engine")


class BundleTarget(Target):
    """A bundle of some kilobytes with an engine of each backend; the map is the blue channel, the score its maximum.

    What is refused is right. A stream that runs to its end must have judged by the numbers of its records: a score or a
    threshold that is not finite, or a score above the threshold, is never OK. And where graph and engines are untouched
    and the threshold is not above the score of the defective photo, that photo is never OK.
    """

    name = "bundle"
    share = 5.0
    limit_s = 60.0
    limit_mib = 2048

    def prepare(self) -> None:
        """Write a bundle and build its engines."""
        with tempfile.TemporaryDirectory() as folder:
            bundle = _write(Path(folder) / "bundle")
            for backend in _BACKENDS:
                build_engine(bundle, backend=backend, precision="fp32")
            root = bundle.root
            self._files = {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}

    def make(self, rng: random.Random) -> bytes:
        """Damage a file, and mostly record its new SHA-256, so that what reads it is reached."""
        files = dict(self._files)
        backend = rng.choice(_BACKENDS)
        if rng.random() < 0.7:  # else what was built is in the way of the graph
            files = {name: content for name, content in files.items() if not name.startswith("engines/")}
        name = rng.choice([*files, *_OFTEN])
        files[name] = _mutated(name, files[name], rng)
        if not name.endswith(("manifest.json", "engine.json")) and rng.random() < 0.95:
            _record(files, name)
        files[_COMMAND] = json.dumps([rng.choice(_VERBS), backend]).encode()
        return pack(files)

    def open(self) -> None:
        """Write a product with one good and one defective photo."""
        import edge_ad.export.verify  # noqa: F401 - torch takes seconds, which are not the first input's

        self._folder = Path(tempfile.mkdtemp(prefix="edge-ad-fuzz-"))
        self._product, self._defect = self._folder / "tiles", self._folder / "defect"
        good = np.random.default_rng(0).integers(0, 60, (40, 36, 3), dtype=np.uint8)
        defective = good.copy()
        defective[10:20, 10:20] = (250, 0, 0)
        for folder, image in (("train/good", good), ("test/good", good), ("test/square", defective)):
            _write_image(self._product / folder / "0.png", image)
        _write_image(self._defect / "0.png", defective)

    def close(self) -> None:
        """Remove the photos."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, content: bytes) -> str:
        """Write the bundle and run its command."""
        files = unpack(content)
        verb, backend = json.loads(files.pop(_COMMAND))
        root = self._folder / "bundle"
        shutil.rmtree(root, ignore_errors=True)
        for name, data in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        records = self._folder / "records.jsonl"
        records.unlink(missing_ok=True)
        code, _, problem = run_command(self._command(verb, backend, str(root), records))
        if not problem and verb == "stream" and code == 0:
            problem = _wrong_verdict(files, records) or self._blind_verdict(files, records)
        return f"{verb}: {problem}" if problem else ""

    def _blind_verdict(self, files: dict[str, bytes], records: Path) -> str:
        """Whether the engine of the unchanged bundle does not see the defect: its blue is nearly full."""
        computing = {name: content for name, content in files.items() if name.endswith(_COMPUTING)}
        (frame,) = [line for line in map(json.loads, records.read_text().splitlines()) if "verdict" in line]
        if all(self._files.get(name) == content for name, content in computing.items()) and frame["score"] < 0.9:
            return "wrong OK: an unchanged graph gives the defect a low score"
        return ""

    def _command(self, verb: str, backend: str, root: str, records: Path) -> list[str]:
        chosen, one_thread = ["--backend", backend, "--precision", "fp32"], ["--threads", "1"]
        match verb:
            case "stream":
                outputs = ["--headless", "--json", "--save-records", str(records), "--overwrite"]
                return [verb, "--bundle", root, "--source", str(self._defect), *outputs, *chosen, *one_thread]
            case "evaluate":
                return [verb, root, "--data", str(self._product), "--json", *chosen, *one_thread]
            case "benchmark":
                return [verb, root, "--seconds", "0.1", *chosen, *one_thread]
            case "verify":
                return [verb, root, "--backend", backend, *one_thread]
            case "build-engine":
                return [verb, root, *chosen]
            case _:
                return [verb, root]


def _mutated(name: str, content: bytes, rng: random.Random) -> bytes:
    if name.endswith(".json"):
        return mutate_json(content, rng)
    if name.endswith(".onnx") and rng.random() < 0.6:
        return mutate_graph(content, rng)
    if name.endswith(".npz") and rng.random() < 0.6:
        return mutate_arrays(content, rng)
    return mutate_bytes(content, rng)


def mutate_arrays(content: bytes, rng: random.Random) -> bytes:
    """Another shape, type or content of an array, one too few, or one too many."""
    import io

    with np.load(io.BytesIO(content)) as archive:
        arrays: dict[str, Any] = {name: archive[name] for name in archive.files}
    name = rng.choice(list(arrays))
    array = arrays[name]
    arrays[name] = rng.choice(
        [
            array[:0], array[:1], array[..., :1], array.T, array.astype(np.float64), array.astype(np.uint8),
            np.array(None), np.array([{"a": 1}], object), np.full(array.shape, np.nan, np.float32), array.astype("U8"),
            np.zeros((1 << 26,), np.uint8), array.reshape(-1), np.array(3.0), array[np.newaxis],
        ]
    )  # fmt: skip
    if rng.random() < 0.1:
        del arrays[name]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return mutate_bytes(buffer.getvalue(), rng) if rng.random() < 0.2 else buffer.getvalue()


def _record(files: dict[str, bytes], name: str) -> None:
    """Write the SHA-256 of a changed file into the document that names it."""
    digest = hashlib.sha256(files[name]).hexdigest()
    folder, _, plain = name.rpartition("/")
    document, key = (f"{folder}/engine.json", plain) if name.startswith("engines/") else ("manifest.json", name)
    content = json.loads(files[document])
    content["files"][key] = digest
    files[document] = json.dumps(content).encode()
    if name == "model.onnx":
        for sidecar in [other for other in files if other.endswith("engine.json")]:
            changed = {**json.loads(files[sidecar]), "onnx_sha256": digest}
            files[sidecar] = json.dumps(changed).encode()


def _wrong_verdict(files: dict[str, bytes], records: Path) -> str:
    lines = [json.loads(line) for line in records.read_text().splitlines()]
    frames = [line for line in lines if "verdict" in line]
    if len(frames) != 1:
        return f"wrong OK: a stream of one photo ended with {len(frames)} verdicts and exit code 0"
    frame = frames[0]
    score, threshold, is_ok = frame["score"], frame["threshold"], frame["verdict"] == "OK"
    if not is_ok:
        return ""
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in (score, threshold)):
        return "wrong OK: of a score or threshold that is not finite"
    if score > threshold:
        return "wrong OK: of a score above the threshold"
    manifest = json.loads(files["manifest.json"])
    computes = {name: content for name, content in files.items() if name.endswith(_COMPUTING)}
    recorded = {**manifest["files"], **_sidecar_hashes(files)}
    is_changed = any(hashlib.sha256(content).hexdigest() != recorded.get(name) for name, content in computes.items())
    if is_changed:
        return "wrong OK: of a graph or an engine that is not what was recorded"
    return ""


def _sidecar_hashes(files: dict[str, bytes]) -> dict[str, str]:
    hashes: dict[str, str] = {}
    for name in files:
        if name.endswith("engine.json"):
            folder = name.rpartition("/")[0]
            hashes |= {f"{folder}/{key}": value for key, value in json.loads(files[name])["files"].items()}
    return hashes


def _write(root: Path) -> Bundle:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 100, (2, *SIZE_HW, 3), dtype=np.uint8)
    maps = images[..., 0].astype(np.float32) / 255.0
    reference = Reference(images=images, scores=maps.max(axis=(1, 2)), maps=maps)
    threshold = Threshold(
        value=0.5, rule="chosen", false_alarm_rate=0.01, false_alarm_bound=0.4, confidence=0.95, good_images=3
    )
    gate = GateReport(passed=True, checks={"map_correlation": 1.0}, limits={"map_correlation": 0.99})
    manifest = Manifest(
        method="blue",
        parameters={"size": 32, "names": ["a"], "nested": {"x": 1.5}},
        product="tiles",
        input_size_hw=SIZE_HW,
        graphs={
            "fp32": GraphInfo(file="model.onnx", threshold=threshold),
            "int8": GraphInfo(file="model.int8.onnx", threshold=threshold, gate=gate),
        },
        metrics=[MetricsRecord(data="tiles test", engine="openvino fp32", images=2, values={"image_auroc": 1.0})],
        split=SplitInfo(seed=0, fit=["a"], calibrate=["b"], threshold=["c"]),
        versions={"edge-ad": "1.0"},
        created="2026-01-01T00:00:00+00:00",
    )
    graph = blue_graph()
    files = {
        "model.onnx": graph,
        "model.int8.onnx": graph,
        "reference.npz": reference.to_bytes(),
        "precision/int8.json": json.dumps({"source": {"fp32": "0" * 64}, "layers": [1, 2]}).encode(),
    }
    return write_bundle(root, manifest, files)


def _write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
