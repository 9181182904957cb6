"""One small run, trained, exported and calibrated once for all tests of the session."""

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from edge_ad.bundle import Bundle
from edge_ad.calibration.gate import GateLimits
from edge_ad.export.bundle_export import export_run
from edge_ad.export.int8 import Int8Recipe
from edge_ad.export.recipes import Calibration, Listeners, RecipeOptions, add_graph
from edge_ad.training.runs import Run, load_run
from edge_ad.training.request import TrainingRequest
from edge_ad.training.train import train

OPTIONS = RecipeOptions("openvino", limits=GateLimits.of_drop(0.2))


def with_int8(
    run: Run, bundle: Bundle, options: RecipeOptions = OPTIONS, log: Callable[[str], None] = lambda text: None
) -> Bundle:
    """The bundle with its INT8 graph."""
    return add_graph(Int8Recipe(), Calibration(run, bundle, options, Listeners(log)))


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A patch Gaussian at 64 pixels, fitted to a dozen discs on a striped ground."""
    root = tmp_path_factory.mktemp("export")
    rng = np.random.default_rng(0)
    (root / "discs").mkdir()
    for index in range(14):
        image = np.full((64, 64, 3), 90, np.uint8)
        image[::4] += np.uint8(30)
        centre = (int(rng.integers(28, 36)), int(rng.integers(28, 36)))
        cv2.circle(image, centre, 18, (200, 160, 120), -1)
        noise = rng.normal(0, 4, image.shape)
        noisy = np.clip(image + noise, 0, 255).astype(np.uint8)
        assert cv2.imwrite(str(root / "discs" / f"{index:02d}.png"), noisy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_AD_CACHE", str(root / "cache"))
        request = TrainingRequest(
            method="patch-gaussian", data=root / "discs", root=root / "run", values={"size": 64, "rank": 4}
        )
        yield load_run(train(request, lambda report: None))


@pytest.fixture(scope="session")
def exported(run: Run) -> Bundle:
    """Its bundle with the FP32 graph alone, as it was before it was calibrated."""
    return export_run(run)


@pytest.fixture(scope="session")
def calibrated(run: Run, exported: Bundle) -> Bundle:
    """Its bundle with the INT8 graph."""
    return with_int8(run, exported)
