"""``edge-ad retrain``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_ad.cli.options import JsonOption
from edge_ad.errors import UsageError

if TYPE_CHECKING:
    from edge_ad.retraining.proposal import Proposal

__all__ = ["retrain"]


def retrain(
    target: Annotated[
        Path, typer.Argument(metavar="RUN", help="The run whose bundle is on the line, or that bundle in it.")
    ],
    records: Annotated[
        Path, typer.Option("--from-records", metavar="DB", help="Database that edge-ad stream --database wrote.")
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the new run; by default the old one's and a number.")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Only findings labelled from this time on.")] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only findings labelled before, as they stand now.")
    ] = None,
    bundle: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HASH",
            help="Take findings of this bundle too, by the start of its hash; by default those of every bundle of the "
            "run's product that the records know. Repeatable.",
        ),
    ] = None,
    method: Annotated[
        str, typer.Option(help="Another method, such as supersimplenet, which learns from labelled defects too.")
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    seconds: Annotated[float, typer.Option(min=0.1, help="Time to measure the latency of each bundle for.")] = 2.0,
    as_json: JsonOption = False,
) -> None:
    """Train a run again with what people labelled on the line, and propose the new bundle beside the old one.

    False alarms become photos of good parts; defects are learned from by a method that does. The threshold is set
    anew. The last third of the findings is learned by nothing: old and new are compared on it, and on the product's own
    test photos. Nothing is swapped.
    """
    from edge_ad.cli.console import note, print_json
    from edge_ad.cli.progress import EpochProgress
    from edge_ad.cli.record_times import time_from_text
    from edge_ad.export.build import run_of
    from edge_ad.retraining.proposal import RetrainRequest, propose
    from edge_ad.streaming.records.reader import RecordFilter

    chosen = RecordFilter(time_from_text(since, option="--since"), time_from_text(until, option="--until"))
    run = run_of(target)
    request = RetrainRequest(
        target,
        records,
        run.parent / name if name else _next(run),
        chosen,
        method,
        device,
        seconds=seconds,
        bundles=_hashes(bundle or ()),
    )
    with EpochProgress() as listen:
        proposal = propose(request, listen=listen, log=note)
    if as_json:
        print_json(proposal.to_json())
    else:
        _print(proposal)


def _next(run: Path) -> Path:
    """``plate`` → ``plate-2``, or the first number that is free."""
    numbers = (run.with_name(f"{run.name}-{number}") for number in range(2, 10_000))
    return next(path for path in numbers if not path.exists())


def _hashes(given: Iterable[str]) -> tuple[str, ...]:
    if wrong := [one for one in given if not re.fullmatch("[0-9a-f]{6,64}", one)]:
        raise UsageError(f"{wrong[0]!r} is not the start of a hash.", "Six digits or more of 0-9 and a-f.")
    return tuple(given)


def _print(proposal: Proposal) -> None:
    from edge_ad.cli.console import note, print_line, print_table

    for name, comparison in proposal.comparisons.items():
        print_line(f"On {name.replace('_', ' ')}:")
        rows = [
            [place, _share(one.counted(is_defective=False)), _share(one.counted(is_defective=True)),
             one.metrics.get("image_auroc")]
            for place, one in zip(("old", "new"), comparison.candidates, strict=True)
        ]  # fmt: skip
        print_table(["detector", "false alarms", "defects found", "image AUROC"], rows)
    for words in proposal.worse:
        print_line(f"worse: {words}")
    print_line(f"proposed: {proposal.new}; nothing was swapped")
    note(f"look at: {proposal.page}")
    note(f"next: {shlex.join(['edge-ad', 'stream', '--bundle', str(proposal.new)])}")


def _share(counted: tuple[int, int] | None) -> str:
    return "–" if counted is None else f"{counted[0]} of {counted[1]}"
