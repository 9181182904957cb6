"""A backend of a third party: one class, found by its entry point, built, verified and streamed like the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.bundle import Bundle
from edge_ad.cli.app import main
from edge_ad.errors import UsageError
from edge_ad.export.build import build_engines
from edge_ad.export.verify import verify_target
from edge_ad.runtime.backend import BackendStatus, backend_names, get_backend
from edge_ad.runtime.onnxruntime.backend import OnnxRuntimeBackend
from tests.entry_points import installed
from tests.runtime.tiny_bundle import SIZE_HW


class ReferenceBackend(OnnxRuntimeBackend):
    """ONNX Runtime under another name, with FP32 alone."""

    name = "reference"
    precisions = ("fp32",)
    fastest_first = ("fp32",)
    worth_building = ("fp32",)

    def probe(self) -> BackendStatus:
        return BackendStatus(self.name, True, "1.0", "runs on this CPU", "", can_build=True)


@pytest.fixture
def _installed(tmp_path: Path) -> Iterator[None]:
    with installed(tmp_path / "site", "edge_ad.backends", "reference", f"{__name__}:ReferenceBackend"):
        yield


@pytest.mark.usefixtures("_installed")
def test_a_backend_of_a_third_party_builds_verifies_and_streams(bundle: Bundle, tmp_path: Path) -> None:
    assert backend_names()[-1] == "reference"
    (built,) = build_engines(bundle.root, backend="reference")
    assert built.engine.path.name.startswith("reference-fp32-")
    verified = verify_target(bundle.root, backend="reference")
    assert verified.passed
    assert [check.engine for check in verified.checks] == ["reference fp32"]
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "0.png"), np.full((*SIZE_HW, 3), 90, np.uint8))  # a black one is not judged
    arguments = [
        "stream",
        "--bundle",
        str(bundle.root),
        "--source",
        str(photos),
        "--backend",
        "reference",
        "--headless",
    ]
    assert main(arguments) == 0


@pytest.mark.usefixtures("_installed")
def test_a_precision_that_it_does_not_have_is_refused(bundle: Bundle) -> None:
    assert get_backend("reference").precision_problem("int8") == "reference has no int8 mode"


def test_a_name_of_nobody_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        get_backend("reference")
    assert "openvino, onnxruntime" in caught.value.hint
