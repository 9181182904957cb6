"""What one more frame, camera, stored record and device cost: the constants of docs/explanation/growth.md.

    python -m benchmarks.growth --bundle BUNDLE --data FOLDER --out growth.jsonl

Streams over the photos of FOLDER, again and again, with one thread and records in SQLite, are run as whole processes. A
constant is the difference of two runs, of few and of many frames or of one and of four sources, so that starting costs
nothing in it. Times are CPU seconds of the process: other work on the machine makes them somewhat larger, not wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.suites.record import append_row, read_lines
from edge_ad.bundle import Bundle

_FEW, _MANY, _SOURCES = 100, 1100, 4


def usage(bundle: Path, sources: list[Path], frames: int, records: Path) -> tuple[float, int]:
    """CPU seconds and largest resident memory in bytes of a stream, which records every verdict."""
    given = [word for number, source in enumerate(sources) for word in ("--source", f"s{number}={source}")]
    options = ["--loop", "--max-frames", str(frames), "--threads", "1", "--save-records", str(records), "--json"]
    command = [sys.executable, "-m", "edge_ad", "stream", "--bundle", str(bundle), *given, *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, taken = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"The stream ended with exit code {process.returncode}.")
    return taken.ru_utime + taken.ru_stime, 1024 * taken.ru_maxrss


def rows(bundle: Path, data: Path, folder: Path) -> list[dict[str, Any]]:
    """The constants; each has a name, a value and a unit."""
    files = [folder / f"{frames}.sqlite" for frames in (_FEW, _MANY)]
    (few_s, _), (many_s, one) = (
        usage(bundle, [data], frames, file) for frames, file in zip((_FEW, _MANY), files, strict=True)
    )
    _, four = usage(bundle, [data] * _SOURCES, _FEW, folder / "four.sqlite")
    stored = [file.stat().st_size for file in files]
    opened = Bundle.open(bundle)
    precision = "int8" if "int8" in opened.manifest.graphs else "fp32"
    files_of_bundle = sum((opened.root / name).stat().st_size for name in opened.manifest.files)
    height, width = opened.manifest.input_size_hw
    values = [
        ("frame", "CPU time, from the file to the record", 1e3 * (many_s - few_s) / (_MANY - _FEW), "ms"),
        ("record", "bytes in the database, trail included", (stored[1] - stored[0]) / (_MANY - _FEW), "B"),
        ("stream", "resident memory of a process with one source", one / 1e6, "MB"),
        ("camera", "resident memory of one more source in it", (four - one) / (_SOURCES - 1) / 1e6, "MB"),
        ("bundle", "bytes to a device, engines left out", files_of_bundle / 1e6, "MB"),
        ("served frame", "bytes to a model server and back", height * width * (3 + 4), "B"),
    ]
    facts = {"method": opened.manifest.method, "precision": precision, "input": f"{height} x {width}"}
    return [{"name": name, "what": what, "value": value, "unit": unit, **facts} for name, what, value, unit in values]


def table(path: Path) -> str:
    """The constants as Markdown."""
    recorded = read_lines(path)
    lines = ["| constant | what | value |", "|---|---|--:|"]
    lines += [f"| {row['name']} | {row['what']} | {_shown(row['value'])} {row['unit']} |" for row in recorded]
    facts = recorded[0]
    return "\n".join([*lines, "", f"`{facts['method']}` in {facts['precision']}, input {facts['input']}, one thread."])


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main(arguments: list[str] | None = None) -> None:
    """Measure, append and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of photos")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(chosen.bundle, chosen.data, Path(folder)):
            append_row(chosen.out, row)
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
