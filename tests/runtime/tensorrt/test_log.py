"""TensorRT's errors in one line."""

import pytest

from edge_ad.runtime.tensorrt.api import create_log
from tests.runtime.tensorrt.cuda_double import FakeCuda
from tests.runtime.tensorrt.tensorrt_double import FakeTensorRt, ILogger


@pytest.mark.parametrize(
    ("logged", "shown"),
    [
        (
            "1: [stdArchiveReader.cpp::StdArchiveReader::54] Error Code 1: Serialization (Version tag does not match.)",
            "Error Code 1: Serialization (Version tag does not match.)",
        ),
        (
            "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In catchCudaError at "
            "/_src/common/dispatch/checkMacros.cpp:250 (cudaError 35: driver version is insufficient))",
            "Error Code 1: Cuda Runtime ((cudaError 35: driver version is insufficient))",
        ),
        ("no location\n at all.", "no location at all"),
    ],
)
def test_the_first_error_is_kept_without_places_in_tensorrts_source(logged: str, shown: str) -> None:
    log = create_log(FakeTensorRt(FakeCuda()))
    log.log(ILogger.Severity.WARNING, "a warning")
    assert log.take_error() == ""
    log.log(ILogger.Severity.ERROR, logged)
    log.log(ILogger.Severity.ERROR, "Engine deserialization failed")
    assert log.take_error() == shown
    assert log.take_error() == ""
