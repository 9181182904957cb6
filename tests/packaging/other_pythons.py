"""Checks the device side with other versions of Python: every module is imported, and what needs no torch is tested.

python -m tests.packaging.other_pythons 3.10 3.13     or: make test-pythons

A version that is not on this machine is named and left out. `python3.10` on the path is taken, or pyenv's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_INSTALL = (
    "-e",
    ".[web,mqtt,charts,basler,genicam]",
    "onnx",
    "hypothesis",
    "packaging",
    "pillow",
    "psutil",
    "pytest",
    "pytest-timeout",
)
_TESTS = (
    "tests/bundle/test_bundle.py",
    "tests/bundle/test_storage.py",
    "tests/cli/test_doctor.py",
    "tests/cli/test_predict.py",
    "tests/cli/test_records.py",
    "tests/test_image_formats.py",
    "tests/runtime/test_backends.py",
    "tests/runtime/test_engine_contract.py",
    "tests/server/test_corrections.py",
    "tests/server/test_page.py",
    "tests/server/test_state.py",
    "tests/spc",
    "tests/streaming/records",
    "tests/streaming/sources/test_damaged_video.py",
    "tests/streaming/test_session.py",
    "tests/streaming/verdicts",
    "tests/test_detector.py",
    "tests/test_images.py",
)
# Imports every module; only what belongs to the workstation may be missing.
_IMPORT_ALL = """
import importlib, pkgutil, edge_ad
absent = {"torch", "safetensors", "onnxscript", "sklearn", "transformers", "polygraphy", "pycuda"}
absent |= {"tensorrt", "tensorrt_rtx"}
names = [module.name for module in pkgutil.walk_packages(edge_ad.__path__, "edge_ad.") if "__main__" not in module.name]
left_out = 0
for name in names:
    try:
        importlib.import_module(name)
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in absent:
            raise
        left_out += 1
print(f"{len(names) - left_out} modules imported, {left_out} need the workstation's packages")
"""


def find_python(version: str) -> Path | None:
    """The interpreter of a version such as ``3.10``; None where there is none."""
    if (found := shutil.which(f"python{version}")) and _works(Path(found), version):
        return Path(found)
    roots = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = sorted(roots.glob(f"{version}.*/bin/python"))
    return next((path for path in reversed(candidates) if _works(path, version)), None)


def check(version: str, python: Path) -> None:
    """Install into an environment of its own, import, compile and test.

    Raises:
        subprocess.CalledProcessError: One of them fails.
    """
    environment = ROOT / f".venv-{version}"
    own = environment / "bin" / "python"
    if not own.is_file():
        subprocess.run([python, "-m", "venv", environment], check=True)
    pip = [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", "constraints.txt"]
    subprocess.run([*pip, *_INSTALL], cwd=ROOT, check=True)
    subprocess.run([own, "-m", "compileall", "-q", "edge_ad", "benchmarks", "tests"], cwd=ROOT, check=True)
    subprocess.run([own, "-c", _IMPORT_ALL], cwd=ROOT, check=True)
    subprocess.run([own, "-m", "pytest", "-p", "no:cacheprovider", *_existing()], cwd=ROOT, check=True)


def _existing() -> list[str]:
    """The chosen tests; a path that is gone would end pytest without running any."""
    missing = [path for path in _TESTS if not (ROOT / path).exists()]
    if missing:
        sys.exit(f"error: these tests are not there any more: {', '.join(missing)}")
    return list(_TESTS)


def _works(python: Path, version: str) -> bool:
    script = "import sys; print('.'.join(map(str, sys.version_info[:2])))"
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == version


def main(versions: list[str]) -> int:
    """Check each of these versions that is here."""
    for version in versions:
        python = find_python(version)
        if python is None:
            print(f"note: no Python {version} here; it is not checked.", file=sys.stderr)
            continue
        print(f"Python {version}: {python}", file=sys.stderr)
        try:
            check(version, python)
        except subprocess.CalledProcessError:
            print(f"error: Python {version} fails; see above.", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["3.10", "3.13"]))
