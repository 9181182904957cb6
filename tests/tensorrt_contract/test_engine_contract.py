"""The engine against the genuine classes of TensorRT 8.6, 10.3, 10.13 and 11.4: every symbol it touches is there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.tensorrt_contract.conftest import Run

_ENGINE = """
from pathlib import Path
from tests.tensorrt_contract.engine_doubles import main
"""


def test_the_engine_runs_on_the_classes_of_every_version(
    version: str, run_json: Callable[[str], Any], tmp_path: Path
) -> None:
    done = run_json(f"{_ENGINE}main(Path({str(tmp_path)!r}))")
    assert done["version"] == version
    assert done["runs"] == 3 * (3 + 10)  # 10 frames as batches of 4, 4 and 2, then one by one


def test_the_genuine_logger_takes_our_log(run_json: Callable[[str], Any]) -> None:
    code = """
import json, tensorrt
from edge_ad.runtime.tensorrt.api import create_log
log = create_log(tensorrt)
log.log(tensorrt.ILogger.Severity.WARNING, "a warning")
quiet = log.take_error()
log.log(tensorrt.ILogger.Severity.ERROR, "an error\\n over two lines.")
log.log(tensorrt.ILogger.Severity.ERROR, "what follows from it")
print(json.dumps([quiet, log.take_error(), log.take_error()]))
"""
    assert run_json(code) == ["", "an error over two lines", ""]


def test_a_runtime_that_does_not_start_is_one_line(run_json: Callable[[str], Any], tmp_path: Path) -> None:
    (tmp_path / "model.plan").write_bytes(b"a plan")
    code = f"""
import json, tensorrt
from pathlib import Path
from edge_ad.errors import DeviceError
from edge_ad.runtime.tensorrt.plan import load_plan
from tests.tensorrt_contract.engine_doubles import source
try:
    load_plan(tensorrt, source(Path({str(tmp_path)!r})), tensorrt.__version__)
except DeviceError as error:
    print(json.dumps(error.message))
"""
    assert run_json(code).startswith("TensorRT could not start: ")


def test_an_engine_that_uses_what_a_version_lacks_fails_with_the_name(version: str, run: Run, tmp_path: Path) -> None:
    code = f"""{_ENGINE}
from edge_ad.runtime.tensorrt.memory import Execution
Execution._run_plainly = lambda self: self._context.execute_async_v2([], self._stream.handle)
main(Path({str(tmp_path)!r}))
"""
    done = run(code)
    assert done.returncode != 0
    if not version.startswith("8."):
        assert f"TensorRT {version} has no IExecutionContext.execute_async_v2" in done.stderr
