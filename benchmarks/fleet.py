"""A fleet of device processes that follow tags of Debian's docker-registry on this machine.

    python -m benchmarks.fleet BUNDLE [--devices 20] [--kills 20] > fleet.json

Steps: a first rollout; a small change, first to ``canary`` and then to ``stable``; a bad bundle, which must be stopped
at the first stage; the registry away for a while; devices killed at random moments while they update. Each step ends
when every device says what it must say, and no folder may ever hold anything but a whole bundle. Engines are not built:
what is measured is the way of a bundle, with its verification by ONNX Runtime.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.docker_registry import DockerRegistry
from edge_ad.bundle import Bundle, Reference
from edge_ad.bundle.bundle import copy_bundle
from edge_ad.bundle.documents import REFERENCE_FILE
from edge_ad.fleet import ArtifactReference, publish, read_origin

_RECEIVED = re.compile(r"^\S+: (\d+) bytes received$", re.MULTILINE)
_LONGEST_S = 900.0
_POLL_S = 0.2


@dataclass
class Step:
    """One line of the result."""

    name: str
    seconds: float
    received_bytes: int
    kills: int = 0
    killed_with_old: int = 0


class Device:
    """A process of ``edge-ad follow`` with a folder and a cache of its own."""

    def __init__(self, folder: Path, reference: ArtifactReference) -> None:
        self.root, self.stage = folder / "part", reference.name
        self._log, self._cache = folder / "log.txt", folder / "cache"
        folder.mkdir()
        options = ["--into", str(self.root), "--every", "1", "--no-build", "--backend", "onnxruntime"]
        self._command = [sys.executable, "-m", "edge_ad", "follow", reference.words, *options]
        self.start()

    def start(self) -> None:
        """Start the process; it writes after what an earlier one has logged."""
        environment = os.environ | {"EDGE_AD_CACHE": str(self._cache), "OMP_NUM_THREADS": "1"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=environment, stdout=log, stderr=log)

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.wait()

    def says(self, step: str, digest: str) -> bool:
        """Whether its state has this step and this digest."""
        try:
            state = json.loads((self.root.with_name(f".{self.root.name}-follow") / "state.json").read_bytes())
        except OSError:
            return False
        return (state["step"], state["digest"]) == (step, digest)

    def live(self) -> str:
        """Digest of the bundle in its folder, which must be whole."""
        Bundle.open(self.root)
        origin = read_origin(self.root)
        return "" if origin is None else origin.digest

    def received_bytes(self) -> int:
        """What all its processes have downloaded."""
        return sum(map(int, _RECEIVED.findall(self._log.read_text(errors="replace"))))


class Fleet:
    """The devices, the registry, and the bundle that is released to them."""

    def __init__(self, folder: Path, bundle: Bundle, registry: DockerRegistry, count: int) -> None:
        self._bundle = copy_bundle(bundle, folder / "release")
        self.registry, self._repository = registry, f"{registry.host}/line/part"
        self.first = self.release("first", "canary", "stable")
        stages = ["canary" if index < max(1, count // 10) else "stable" for index in range(count)]
        self.began = time.monotonic()
        self.devices = [Device(folder / f"device-{index}", self.reference(stage)) for index, stage in enumerate(stages)]

    def reference(self, tag: str) -> ArtifactReference:
        """A tag of the bundle."""
        return ArtifactReference.parse(f"{self._repository}:{tag}")

    def release(self, note: str, *tags: str, reference: bytes | None = None) -> str:
        """Publish the bundle with another note, and other reference outputs if given; returns the digest."""
        files: dict[str, bytes | Path] = {"release.txt": note.encode()}
        changed = self._bundle.with_files(files if reference is None else {**files, REFERENCE_FILE: reference})
        return [publish(changed, self.reference(tag)).digest for tag in tags][-1]

    def bad_reference(self) -> tuple[bytes, bytes]:
        """Reference outputs as they are, and others that no engine gives."""
        good = self._bundle.read_file(REFERENCE_FILE)
        found = Reference.read(good, self._bundle.root / REFERENCE_FILE)
        return good, Reference(found.images, found.scores + abs(found.scores).max() + 1, found.maps).to_bytes()

    def wait(self, step: str, digest: str, stage: str = "") -> None:
        """Wait until every device of a stage says this."""
        until = time.monotonic() + _LONGEST_S
        waiting = [device for device in self.devices if stage in ("", device.stage)]
        while waiting := [device for device in waiting if not device.says(step, digest)]:
            if time.monotonic() > until:
                raise SystemExit(f"error: {len(waiting)} devices do not say {step}.")
            time.sleep(_POLL_S)

    def received_bytes(self) -> int:
        """What all devices have downloaded."""
        return sum(device.received_bytes() for device in self.devices)

    def must_hold(self, digest: str) -> None:
        """Every folder holds this bundle, whole."""
        for device in self.devices:
            if device.live() != digest:
                raise SystemExit(f"error: {device.root} does not hold {digest}.")


def measure(fleet: Fleet, kills: int) -> list[Step]:
    """All steps, one after the other."""
    steps: list[Step] = []

    def step(name: str, work: Callable[[], None], began: float | None = None) -> None:
        began = time.monotonic() if began is None else began
        before = 0 if not steps else fleet.received_bytes()
        work()
        steps.append(Step(name, round(time.monotonic() - began, 1), fleet.received_bytes() - before))
        print(steps[-1], file=sys.stderr)

    step("first rollout", lambda: fleet.wait("current", fleet.first), fleet.began)
    digest = fleet.release("second", "canary")
    step("change to canary", lambda: fleet.wait("current", digest, "canary"))
    fleet.release("second", "stable")
    step("change to stable", lambda: fleet.wait("current", digest))
    good, bad = fleet.bad_reference()
    fleet.release("bad", "canary", reference=bad)
    step("bad bundle refused by canary", lambda: fleet.wait("refused", digest, "canary"))
    fleet.must_hold(digest)
    fleet.registry.stop()
    step("registry away", lambda: fleet.wait("waiting", digest))
    fleet.must_hold(digest)
    fleet.registry.start()
    third = fleet.release("third", "canary", "stable", reference=good)
    step("registry back, change to all", lambda: fleet.wait("current", third))
    fourth = fleet.release("fourth", "canary", "stable")
    found: list[str] = []
    step(f"change to all, {kills} kills", lambda: _killed(fleet, fourth, kills, found))
    steps[-1].kills, steps[-1].killed_with_old = kills, found.count(third)
    if not set(found) <= {third, fourth}:
        raise SystemExit("error: a killed device held neither the old bundle nor the new one.")
    fleet.must_hold(fourth)
    return steps


def _killed(fleet: Fleet, digest: str, kills: int, found: list[str]) -> None:
    chance = random.Random(0)
    for _ in range(kills):
        time.sleep(chance.uniform(0.0, 1.0))
        old = [device for device in fleet.devices if not device.says("current", digest)]
        device = chance.choice(old or fleet.devices)
        device.kill()
        found.append(device.live())
        device.start()
    fleet.wait("current", digest)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the fleet and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--devices", type=int, default=20)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args(arguments)
    bundle = Bundle.open(options.bundle)
    with tempfile.TemporaryDirectory() as name, DockerRegistry(Path(name)) as registry:
        fleet = Fleet(Path(name), bundle, registry, options.devices)
        try:
            steps = measure(fleet, options.kills)
        finally:
            for device in fleet.devices:
                device.kill()
    size = sum((bundle.root / file).stat().st_size for file in bundle.manifest.files)
    document = {"devices": options.devices, "bundle_bytes": size, "steps": [asdict(step) for step in steps]}
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
