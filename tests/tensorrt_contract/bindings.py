"""The genuine Python bindings of several TensorRT versions, made importable without TensorRT's libraries.

The bindings are extension modules that are linked to TensorRT. A library under each name they ask for, with nothing
in it but the factory functions they call, is enough to import them: classes, enums and signatures are then the genuine
ones, and a factory gives NULL. Needs Linux and a C compiler.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

__all__ = ["ROOT", "VERSIONS", "find_bindings", "link_stubs", "missing_reason", "run_with_bindings"]

VERSIONS = ("8.6.1", "10.3.0", "10.13.3.9", "11.4.0.106")
"""JetPack 6.0; JetPack 6.1 and 6.2; JetPack 7; the newest."""

ROOT = Path(sys.prefix) / "tensorrt-bindings"
"""Where ``make test`` puts them: ``<ROOT>/<version>/tensorrt_bindings``."""

_TESTS = Path(__file__).parents[2]
_FACTORIES = re.compile(r"\bU (?!_?Py|dl)(\w+)$", re.M)  # those of the C library carry a version
_LIBRARIES = re.compile(r"\[(libnv\w+\.so\.\d+)\]")
_ALIAS = "import sys, tensorrt_bindings; sys.modules['tensorrt'] = tensorrt_bindings\n"


def find_bindings(version: str) -> Path:
    """Folder to put on the path."""
    return ROOT / version


def missing_reason(version: str) -> str:
    """Why the bindings of a version cannot be used here; empty when they can."""
    if not sys.platform.startswith("linux"):
        return "the bindings are stubbed on Linux only"
    tools = [tool for tool in ("gcc", "nm", "readelf") if shutil.which(tool) is None]
    if tools:
        return f"no {', '.join(tools)} to make TensorRT's libraries from"
    if not (find_bindings(version) / "tensorrt_bindings" / "tensorrt.so").is_file():
        return f"TensorRT's bindings {version} are not in {ROOT}; make test installs them"
    return ""


def run_with_bindings(version: str, code: str, stubs: Path) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, in which ``import tensorrt`` gives the bindings of a version.

    Args:
        version: One of `VERSIONS`.
        code: Python source; the repository is on its path.
        stubs: Folder for the libraries, empty or as an earlier call left it.
    """
    link_stubs(version, stubs)
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(stubs),
        "PYTHONPATH": os.pathsep.join([str(find_bindings(version)), str(_TESTS)]),
    }
    return subprocess.run(
        [sys.executable, "-c", _ALIAS + code],
        env=environment,
        cwd=_TESTS,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def link_stubs(version: str, folder: Path) -> None:
    """Compile the libraries that the bindings of a version are linked to."""
    libraries, factories = _linkage(find_bindings(version) / "tensorrt_bindings" / "tensorrt.so")
    source = "\n".join(
        f'void *stub_{index}(void) __asm__("{name}"); void *stub_{index}(void) {{ return 0; }}'
        for index, name in enumerate(factories)
    )
    folder.mkdir(parents=True, exist_ok=True)
    for library in libraries:
        if not (folder / library).exists():
            command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-x", "c", "-", "-o", str(folder / library)]
            subprocess.run(command, input=source, text=True, check=True)


@cache
def _linkage(extension: Path) -> tuple[list[str], list[str]]:
    needed = subprocess.run(["readelf", "-d", extension], capture_output=True, text=True, check=True).stdout
    missing = subprocess.run(["nm", "-D", "-u", extension], capture_output=True, text=True, check=True).stdout
    return _LIBRARIES.findall(needed), _FACTORIES.findall(missing)
