"""The Engine contract, for every backend that runs here, built in memory and opened from an engine directory."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx.reference
import pytest
from numpy.typing import NDArray

from edge_ad.bundle import Bundle
from edge_ad.errors import EdgeAdError, UsageError
from edge_ad.runtime import Engine, build_engine, open_engine
from edge_ad.runtime.target import available_cores
from tests.runtime.tiny_bundle import SIZE_HW

BACKENDS = ("openvino", "onnxruntime")
KINDS = [(backend, kind) for backend in BACKENDS for kind in ("in memory", "directory")]


def frames(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *SIZE_HW, 3), dtype=np.uint8)


@pytest.fixture(params=KINDS, ids=["-".join(kind) for kind in KINDS])
def unopened(request: pytest.FixtureRequest, bundle: Bundle) -> Engine:
    backend, kind = request.param
    if kind == "directory":
        build_engine(bundle, backend=backend)
    return open_engine(bundle, backend=backend, threads=1)


@pytest.fixture
def engine(unopened: Engine) -> Iterator[Engine]:
    with unopened:
        yield unopened


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_it_computes_the_graph(engine: Engine, bundle: Bundle, batch: int) -> None:
    images = frames(batch)
    oracle = onnx.reference.ReferenceEvaluator(str(bundle.graph_path("fp32")))
    scores, maps = oracle.run(["score", "anomaly_map"], {"image": images})
    predictions = engine.infer(images)
    assert len(predictions) == batch
    np.testing.assert_allclose([item.score for item in predictions], scores, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose([item.anomaly_map for item in predictions], maps, rtol=1e-5, atol=1e-5)


def test_batches_of_every_size_give_the_same_predictions(engine: Engine) -> None:
    images = frames(6)
    one_by_one = [engine.infer(images[index : index + 1])[0].score for index in range(6)]
    for batch in (2, 3, 4, 5, 6, 1, 2):  # more sizes than the engine keeps, and back to the first
        scores = [item.score for item in engine.infer(images[:batch])]
        np.testing.assert_allclose(scores, one_by_one[:batch], rtol=1e-5)


def test_maps_are_float32_and_scores_are_python_floats(engine: Engine) -> None:
    prediction = engine.infer(frames(1))[0]
    assert type(prediction.score) is float
    assert prediction.anomaly_map.dtype == np.float32
    assert prediction.anomaly_map.shape == SIZE_HW


def test_the_caller_owns_the_outputs(engine: Engine) -> None:
    first = engine.infer(frames(1, seed=1))[0].anomaly_map
    kept = first.copy()
    engine.infer(frames(1, seed=2))
    list(engine.infer_many(iter([frames(1, seed=3)])))
    np.testing.assert_array_equal(first, kept)
    first[:] = 0  # and may write to them
    np.testing.assert_array_equal(engine.infer(frames(1, seed=1))[0].anomaly_map, kept)


def test_the_input_may_be_read_only_or_not_contiguous_and_is_not_changed(engine: Engine) -> None:
    images = frames(1)
    expected = engine.infer(images)[0].score
    images.flags.writeable = False
    assert engine.infer(images)[0].score == expected
    wide = np.repeat(images, 2, axis=2)
    assert engine.infer(wide[:, :, ::2])[0].score == expected


def test_infer_many_keeps_the_order_and_agrees_with_infer(engine: Engine) -> None:
    images = frames(23)
    expected = [engine.infer(image[None])[0] for image in images]
    got = list(engine.infer_many(image[None] for image in images))
    np.testing.assert_allclose([item.score for item in got], [item.score for item in expected], rtol=1e-5)
    np.testing.assert_allclose(
        [item.anomaly_map for item in got], [item.anomaly_map for item in expected], rtol=1e-4, atol=1e-5
    )


def test_a_source_of_infer_many_may_reuse_its_buffer(engine: Engine) -> None:
    images = frames(9)

    def reuse() -> Iterator[NDArray[np.uint8]]:
        buffer = np.empty((1, *SIZE_HW, 3), np.uint8)
        for image in images:
            buffer[0] = image
            yield buffer

    expected = [engine.infer(image[None])[0].score for image in images]
    np.testing.assert_allclose([item.score for item in engine.infer_many(reuse())], expected, rtol=1e-5)


def test_infer_many_reads_only_a_few_frames_ahead(engine: Engine) -> None:
    taken = []

    def endless() -> Iterator[NDArray[np.uint8]]:
        while True:
            taken.append(1)
            yield frames(1)

    predictions = engine.infer_many(endless())
    next(predictions)
    assert len(taken) <= 4
    predictions.close()  # type: ignore[attr-defined]


def test_infer_many_passes_an_error_of_its_source_on(engine: Engine) -> None:
    def broken() -> Iterator[NDArray[np.uint8]]:
        yield frames(1)
        raise OSError("camera unplugged")

    with pytest.raises(OSError, match="camera unplugged"):
        list(engine.infer_many(broken()))
    assert len(engine.infer(frames(1))) == 1


def test_infer_many_of_no_frames_is_empty(engine: Engine) -> None:
    assert list(engine.infer_many([])) == []


def test_infer_many_refuses_a_batch(engine: Engine) -> None:
    with pytest.raises(UsageError, match="one frame at a time"):
        list(engine.infer_many([frames(2)]))


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((1, 24, 32, 3), np.float32), "uint8, not float32"),
        (np.zeros((24, 32, 3), np.uint8), "shape"),
        (np.zeros((1, 32, 24, 3), np.uint8), r"\(N, 24, 32, 3\), not \(1, 32, 24, 3\)"),
        (np.zeros((0, 24, 32, 3), np.uint8), "shape"),
    ],
)
def test_wrong_input_is_a_usage_error(engine: Engine, images: NDArray[np.uint8], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        engine.infer(images)


def test_an_engine_that_is_not_open_says_so(unopened: Engine) -> None:
    with pytest.raises(EdgeAdError, match="not open"):
        unopened.infer(frames(1))
    with pytest.raises(EdgeAdError, match="not open"):
        unopened.infer_many([frames(1)])
    with unopened:
        stream = unopened.infer_many(frames(1) for _ in range(100))
        next(stream)
    with pytest.raises(EdgeAdError, match="not open"):
        unopened.infer(frames(1))
    with pytest.raises(EdgeAdError, match="not open"):
        list(stream)


def test_an_engine_opens_again_after_it_was_closed(unopened: Engine) -> None:
    with unopened:
        first = unopened.infer(frames(1))[0].score
    with unopened:
        assert unopened.infer(frames(1))[0].score == first


def test_it_describes_itself(engine: Engine, bundle: Bundle) -> None:
    description = engine.describe()
    assert description.backend in BACKENDS
    assert description.precision == "fp32"
    assert description.input_size_hw == SIZE_HW
    assert description.threads == 1
    assert "in memory" in description.source or description.source.startswith(f"engines/{description.backend}-fp32-")
    assert description.version
    assert engine.threshold == bundle.graph("fp32").threshold
    engine.warm_up()


def test_the_backends_agree(bundle: Bundle) -> None:
    images = frames(4)
    with open_engine(bundle, backend="openvino") as one, open_engine(bundle, backend="onnxruntime") as other:
        for left, right in zip(one.infer(images), other.infer(images), strict=True):
            assert left.score == pytest.approx(right.score, rel=1e-5)
            np.testing.assert_allclose(left.anomaly_map, right.anomaly_map, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(available_cores() < 2, reason="one core is never more than one busy core")
@pytest.mark.parametrize("backend", BACKENDS)
def test_one_thread_means_one_busy_core(bundle: Bundle, backend: str) -> None:
    script = """
import sys, time
from pathlib import Path
import numpy as np
from edge_ad.bundle import Bundle
from edge_ad.runtime import open_engine
bundle = Bundle.open(Path(sys.argv[1]))
images = np.zeros((64, *bundle.manifest.input_size_hw, 3), np.uint8)
with open_engine(bundle, backend=sys.argv[2], threads=1) as engine:
    engine.infer(images)
    busy, wall = time.process_time(), time.perf_counter()
    while time.perf_counter() - wall < 0.3:
        engine.infer(images)
    print((time.process_time() - busy) / (time.perf_counter() - wall))
"""  # in a process of its own: other tests may have left threads that are busy
    command = [sys.executable, "-c", script, str(bundle.root), backend]
    assert float(subprocess.run(command, capture_output=True, check=True, text=True).stdout) < 1.2


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_device_side_imports_no_torch(bundle: Bundle, backend: str) -> None:
    script = """
import sys
from pathlib import Path
import numpy as np
from edge_ad.bundle import Bundle
from edge_ad.runtime import build_engine, open_engine
from edge_ad.runtime.doctor import examine
bundle = Bundle.open(Path(sys.argv[1]))
build_engine(bundle, backend=sys.argv[2])
with open_engine(bundle, backend=sys.argv[2]) as engine:
    engine.infer(np.zeros((1, 24, 32, 3), np.uint8))
examine()
print([name for name in ("torch", "onnx", "matplotlib", "transformers") if name in sys.modules])
"""
    result = subprocess.run(
        [sys.executable, "-c", script, str(bundle.root), backend], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("backend", BACKENDS)
def test_opening_an_engine_sends_no_statistics_and_writes_nothing_into_the_home_folder(
    bundle: Bundle, tmp_path: Path, backend: str
) -> None:
    script = """
import sys
from pathlib import Path
from edge_ad.bundle import Bundle
from edge_ad.runtime import open_engine
with open_engine(Bundle.open(Path(sys.argv[1])), backend=sys.argv[2]) as engine:
    engine.warm_up()
print([name for name in sys.modules if name.startswith("openvino_telemetry")])
"""
    home = tmp_path / "home"
    home.mkdir()
    # Like a device on a line: statistics are off by themselves where CI variables are set.
    environment = {"HOME": str(home), "USERPROFILE": str(home), "PATH": os.environ["PATH"]}
    result = subprocess.run(
        [sys.executable, "-c", script, str(bundle.root), backend],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert result.stdout.strip() == "[]"
    assert list(home.iterdir()) == []
