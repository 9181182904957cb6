"""``edge-ad --help`` answers at once."""

import resource
import statistics
import subprocess
import sys

HEAVY = {"torch", "openvino", "onnxruntime", "onnx", "cv2", "matplotlib", "pydantic", "rich", "numpy", "sklearn"}
HELP = [sys.executable, "-m", "edge_ad", "--help"]


def test_help_imports_nothing_heavy() -> None:
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "edge_ad", "--help"], capture_output=True, text=True, check=True
    )
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in shown.stderr.splitlines() if "|" in line}
    assert "typer" in imported  # the listing is read as it is meant
    assert not imported & HEAVY


def test_help_takes_less_than_three_tenths_of_a_second() -> None:
    # Processor time: on a machine with nothing else to do it is the time one waits, on a busy one the clock would
    # measure the others.
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(HELP, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert statistics.median(seconds() for _ in range(7)) < 0.3
