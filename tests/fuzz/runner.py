"""Makes inputs from a seed, has a worker try them, and keeps those that found something."""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.target import Target
from tests.fuzz.worker import Worker

__all__ = ["CORPUS", "Report", "corpus_of", "fuzz"]

CORPUS = Path(__file__).parent / "corpus"
_KEPT_PER_FINDING = 3


@dataclass
class Report:
    """What came of a target.

    Attributes:
        target: Its name.
        tried: How many inputs were tried.
        findings: What was found, and how often.
        kept: Finding → files with inputs that show it.
    """

    target: str
    tried: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    kept: dict[str, list[Path]] = field(default_factory=dict)


def corpus_of(target: str) -> list[Path]:
    """Inputs that once found something."""
    return sorted((CORPUS / target).glob("*"))


def fuzz(
    target: Target,
    *,
    seed: int,
    seconds: float,
    most: int | None = None,
    out: Path,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Try the corpus of a target, then new inputs until the time is over.

    Args:
        target: What is fuzzed.
        seed: The same seed makes the same inputs, in the same order.
        seconds: When to stop.
        most: Stop after so many new inputs; None sets no limit.
        out: Folder for inputs that find something.
        say: Told about each new finding.
    """
    report = Report(target.name)
    target.prepare()
    with Worker(target) as worker:
        deadline = time.monotonic() + seconds  # what it takes to import torch on a busy machine is not the inputs'
        for path in corpus_of(target.name):
            _note(report, worker.try_input(path.read_bytes()), path.read_bytes(), out, say)
        index = 0
        while time.monotonic() < deadline and (most is None or index < most):
            content = target.make(random.Random(f"{seed} {target.name} {index}"))
            _note(report, worker.try_input(content), content, out, say)
            index += 1
    return report


def _note(report: Report, finding: str, content: bytes, out: Path, say: Callable[[str], None]) -> None:
    report.tried += 1
    if not finding:
        return
    report.findings[finding] += 1
    kept = report.kept.setdefault(finding, [])
    if not kept:
        say(f"{report.target}: {finding}")
    path = out / report.target / hashlib.sha256(content).hexdigest()[:16]
    if len(kept) < _KEPT_PER_FINDING and path not in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        kept.append(path)
