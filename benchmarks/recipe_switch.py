"""Switches a running `edge-ad stream` between recipes under load, over HTTP as the page does, and checks every record.

    python -m benchmarks.recipe_switch FOLDER_OF_IMAGES BUNDLE BUNDLE [BUNDLE...] [--switches 100]

One recipe is written for each bundle, each with a region and a threshold of its own. The stream reads the images again
and again as fast as it can, and records to a database. Each bundle is opened before the first switch that counts. Then
every record must have the recipe, the bundle and the threshold that belong together, and every record that was captured
after an answer and before the next request the recipe of that answer. Prints the times from request to answer as the
client sees them, as the stream itself counts them, and the memory of the process.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

_START_S, _END_S = 120.0, 30.0
_BETWEEN_S = 0.1
_REGIONS = ("0%,0%,100%,100%", "10%,10%,80%,80%", "25%,25%,50%,50%", "0%,0%,50%,50%")


@dataclass(frozen=True)
class Answer:
    """What a switch came to.

    Attributes:
        recipe: Its name.
        asked_unix: When it was requested, in seconds since the epoch.
        answered_unix: When the answer was there.
        client_ms: Between the two.
        stream_ms: What the stream counted.
        was_warm: Whether the bundle was open.
        memory_mb: Memory of the process afterwards.
    """

    recipe: str
    asked_unix: float
    answered_unix: float
    client_ms: float
    stream_ms: float
    was_warm: bool
    memory_mb: float


def write_recipes(folder: Path, bundles: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Write a recipe for each bundle; gives name → what belongs to it."""
    made: dict[str, dict[str, Any]] = {}
    for number, bundle in enumerate(bundles, 1):
        name, threshold = f"product-{number}", 0.5 + number / 8
        region = _REGIONS[number % len(_REGIONS)]
        text = f"bundle: {bundle.absolute()}\nnumber: {number}\nregion: {region}\nthreshold: {threshold}\n"
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
        made[name] = {"number": number, "threshold": threshold}
    return made


class Line:
    """A running stream. A context manager; leaving it ends the stream.

    Args:
        work: Folder for recipes and records.
        images: Folder of images.
        warm: How many bundles stay open.
    """

    def __init__(self, work: Path, images: Path, warm: int) -> None:
        command = [sys.executable, "-m", "edge_ad", "stream", "--recipes", str(work), "--recipe", "product-1"]
        command += ["--source", str(images), "--loop", "--headless", "--database", str(work / "line.sqlite")]
        command += ["--web", "127.0.0.1:0", "--warm-bundles", str(warm), "--json", "--no-frame-health"]
        self._log = (work / "stderr.txt").open("w", encoding="utf-8")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log, text=True)
        self._log_path = work / "stderr.txt"

    def __enter__(self) -> Line:
        until = time.monotonic() + _START_S
        while time.monotonic() < until and self._process.poll() is None:
            for port in self._ports():
                with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                    if json.loads(self._request(port, "GET", "/api/recipes"))["recipe"]:
                        self._port = port
                        return self
            time.sleep(0.2)
        raise SystemExit(f"The stream does not run: {self._log_path.read_text(encoding='utf-8')}")

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self.summary = self._process.communicate(timeout=_END_S)[0]
        self._log.close()

    def switch(self, recipe: str) -> Answer:
        """Switch, and wait for the answer."""
        asked_unix, started = time.time(), time.perf_counter()
        answer = json.loads(self._request(self._port, "POST", "/api/recipe", {"recipe": recipe, "by": "benchmark"}))
        client_ms = (time.perf_counter() - started) * 1e3
        return Answer(recipe, asked_unix, time.time(), client_ms, answer["ms"], answer["was_warm"], self._memory_mb())

    def _request(self, port: int, method: str, path: str, body: dict[str, Any] | None = None) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_S)
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"content-type": "application/json"})
        response = connection.getresponse()
        said = response.read().decode()
        connection.close()
        if response.status != 200:
            raise ValueError(said)
        return said

    def _ports(self) -> list[int]:
        """Ports at which the process listens."""
        inodes = set[str]()
        for link in Path(f"/proc/{self._process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                inodes.update(re.findall(r"socket:\[(\d+)\]", str(link.readlink())))
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return [int(row[1].partition(":")[2], 16) for row in rows if row[3] == "0A" and row[9] in inodes]

    def _memory_mb(self) -> float:
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", text)
        return int(found[1]) / 1e3 if found else 0.0


def wrong_records(database: Path, answers: Sequence[Answer], recipes: dict[str, dict[str, Any]]) -> Iterator[str]:
    """A line for each record that has not the recipe, bundle and threshold that belong together, or at that time."""
    connection = sqlite3.connect(database)
    bundles: dict[str, set[str]] = {}
    spans = [(one.answered_unix, two.asked_unix, one.recipe) for one, two in pairwise(answers)]
    at = 0
    for moment, recipe, bundle, threshold in connection.execute(
        "SELECT time, recipe, bundle, threshold FROM records ORDER BY id"
    ):
        captured = datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()
        bundles.setdefault(recipe, set()).add(bundle)
        if threshold != recipes[recipe]["threshold"] or len(bundles[recipe]) != 1:
            yield f"{moment}: {recipe} with threshold {threshold} and bundle {bundle[:12]}"
        while at + 1 < len(spans) and spans[at + 1][0] <= captured:
            at += 1
        first, last, wanted = spans[at]
        if first + 1e-3 < captured < last and recipe != wanted:
            yield f"{moment}: {recipe}, though {wanted} was selected at {first}"
    connection.close()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--switches", type=int, default=100)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        recipes = write_recipes(work, asked.bundles)
        names = list(recipes)
        with Line(work, asked.images, len(names)) as line:
            cold = [line.switch(name) for name in (*names[1:], names[0])]
            answers = []
            for number in range(asked.switches):
                answers.append(line.switch(names[(number + 1) % len(names)]))
                time.sleep(_BETWEEN_S)
        report(cold, answers, line.summary, list(wrong_records(work / "line.sqlite", [*cold, *answers], recipes)))


def report(cold: Sequence[Answer], answers: Sequence[Answer], summary: str, wrong: Sequence[str]) -> None:
    """Print what was measured."""
    client, stream = sorted(one.client_ms for one in answers), sorted(one.stream_ms for one in answers)
    opened = [one.client_ms for one in cold if not one.was_warm]
    memory = [one.memory_mb for one in answers]
    half = len(memory) // 2
    print(f"frames judged          {json.loads(summary)['frames']}")
    print(f"switches, all warm     {len(answers)}, {all(one.was_warm for one in answers)}")
    print(f"request to answer      median {statistics.median(client):.1f} ms, worst {client[-1]:.1f} ms")
    print(f"counted by the stream  median {statistics.median(stream):.1f} ms, worst {stream[-1]:.1f} ms")
    print(f"first use of a bundle  {', '.join(f'{ms / 1e3:.1f} s' for ms in opened) or 'none'}")
    print(
        f"memory                 {statistics.mean(memory[:half]):.0f} MB, then {statistics.mean(memory[half:]):.0f} MB"
    )
    print(f"wrong records          {len(wrong)}")
    for line in wrong[:5]:
        print(f"  {line}")


if __name__ == "__main__":
    main()
