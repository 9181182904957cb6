"""``python -m tests.fuzz --seconds 300 --seed 0 [--target NAME]``: exit code 1 when something was found."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.fuzz.runner import Report, fuzz
from tests.fuzz.targets import TARGETS

_OUT = Path("runs/fuzz")


def main() -> int:
    """Fuzz the chosen targets one after the other and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Damage inputs and look what happens.")
    parser.add_argument("--seconds", type=float, default=300.0, help="Time for all targets together.")
    parser.add_argument("--seed", type=int, default=0, help="The same seed makes the same inputs.")
    parser.add_argument("--target", choices=list(TARGETS), action="append", help="Only this one; may be repeated.")
    parser.add_argument("--replay", type=Path, nargs="+", help="Try these files alone, with one --target.")
    parser.add_argument("--out", type=Path, default=_OUT, help="Folder for inputs that find something.")
    chosen = parser.parse_args()
    if chosen.replay:
        return _replay(chosen.target[0], chosen.replay)
    targets = [TARGETS[name]() for name in chosen.target or TARGETS]
    shares = sum(target.share for target in targets)
    reports = [
        fuzz(target, seed=chosen.seed, seconds=chosen.seconds * target.share / shares, out=chosen.out, say=_say)
        for target in targets
    ]
    _print(reports)
    return 1 if any(report.findings for report in reports) else 0


def _replay(name: str, paths: list[Path]) -> int:
    from tests.fuzz.worker import Worker

    target = TARGETS[name]()
    target.prepare()
    with Worker(target) as worker:
        findings = [worker.try_input(path.read_bytes()) for path in paths]
    for path, finding in zip(paths, findings, strict=True):
        print(f"{path}: {finding or 'nothing'}")
    return 1 if any(findings) else 0


def _say(finding: str) -> None:
    print(f"found: {finding}", file=sys.stderr, flush=True)


def _print(reports: list[Report]) -> None:
    for report in reports:
        print(f"{report.target:<10} {report.tried:>7} inputs, {report.findings.total():>5} findings")
        for finding, count in report.findings.most_common():
            print(f"    {count:>5} x {finding}")
            print(f"            {' '.join(str(path) for path in report.kept[finding])}")


if __name__ == "__main__":
    sys.exit(main())
