"""Folders of runs: the record, the checkpoint, and what is missing."""

from __future__ import annotations

import random
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from edge_ad.errors import EdgeAdError
from tests.fuzz.console import run_command
from tests.fuzz.mutation import mutate_bytes, mutate_json
from tests.fuzz.target import Target, pack, unpack

__all__ = ["RunTarget"]

_COMMAND = "command"
_HEAD_BYTES = 2048
_HEAD, _GONE = ".head", ".gone"
_VERBS = (*[b"load"] * 12, b"evaluate", b"resume", b"export")


class RunTarget(Target):
    """A run opens, is evaluated, exported and resumed, or is refused in one line."""

    name = "runs"
    limit_s = 60.0
    limit_mib = 2048

    def prepare(self) -> None:
        """Train the smallest detector on some noise."""
        from edge_ad.training.request import TrainingRequest
        from edge_ad.training.train import train

        values = {"size": 64, "width": "pico", "mask_source": "full", "epochs": 1}
        with tempfile.TemporaryDirectory() as folder:
            photos, root = Path(folder) / "photos", Path(folder) / "run"
            _write_photos(photos)
            train(TrainingRequest(method="ear", data=photos, root=root, values=values), lambda report: None)
            self._files = {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}

    def make(self, rng: random.Random) -> bytes:
        """Damage one of its files: an input is that file, or the head of a checkpoint, and the command."""
        name = rng.choice([*self._files, "run.json", "run.json"])
        content = self._files[name]
        damaged: dict[str, bytes] = {}
        if rng.random() < 0.03:
            damaged[name + _GONE] = b""
        elif name.endswith(".json"):
            damaged[name] = mutate_json(content, rng)
        elif len(content) > _HEAD_BYTES:  # where safetensors describes what follows
            damaged[name + _HEAD] = mutate_bytes(content[:_HEAD_BYTES], rng)
        else:
            damaged[name] = mutate_bytes(content, rng)
        return pack({**damaged, _COMMAND: rng.choice(_VERBS)})

    def open(self) -> None:
        """Write the product."""
        import torch

        torch.set_num_threads(1)
        self._folder = Path(tempfile.mkdtemp(prefix="edge-ad-fuzz-"))
        self._product = self._folder / "product"
        _write_photos(self._product / "train" / "good")
        _write_photos(self._product / "test" / "scratch", count=1)

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, content: bytes) -> str:
        """Write the run and use it."""
        damaged = unpack(content)
        verb, root = damaged.pop(_COMMAND).decode(), self._folder / "run"
        shutil.rmtree(root, ignore_errors=True)
        for name, data in _with(self._files, damaged).items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        if verb == "load":
            return _load(root)
        arguments = {
            "evaluate": ["evaluate", str(root), "--data", str(self._product), "--json"],
            "export": ["export", str(root)],
            "resume": ["train", "--resume", str(root)],
        }
        _, _, problem = run_command(arguments[verb])
        return f"{verb}: {problem}" if problem else ""


def _with(files: dict[str, bytes], damaged: dict[str, bytes]) -> dict[str, bytes]:
    files = dict(files)
    for name, content in damaged.items():
        if name.endswith(_GONE):
            files.pop(name.removesuffix(_GONE), None)
        elif name.endswith(_HEAD):
            whole = name.removesuffix(_HEAD)
            files[whole] = content + files[whole][_HEAD_BYTES:]
        else:
            files[name] = content
    return files


def _load(root: Path) -> str:
    from edge_ad.training.runs import load_run

    with suppress(EdgeAdError):
        load_run(root)
    return ""


def _write_photos(folder: Path, count: int = 10) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        assert cv2.imwrite(str(folder / f"{index:02d}.png"), rng.integers(0, 90, (64, 64, 3), dtype=np.uint8))
