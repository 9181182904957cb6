"""What ``edge-ad train`` says of a run that is finished: its threshold, and what its photos look like."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_ad.training.runs import Run

__all__ = ["report_run"]

_FEWEST_TO_COMPARE = 3  # photos: each is held against two others at least
_MOST_NAMED = 5
_FEW_NAMED = 3


def report_run(root: Path, *, check_photos: bool, as_json: bool) -> None:
    """Print what a finished run holds, then what its photos look like.

    Args:
        root: Folder of the run.
        check_photos: Whether to look for photos that stand out.
        as_json: Whether to print all of it as JSON at the end.
    """
    from edge_ad.cli.console import note, print_facts, print_json, print_line
    from edge_ad.input_size import parse_input_size, size_words
    from edge_ad.training.runs import read_record

    record = read_record(root)
    size = size_words(parse_input_size(record.parameters["size"]))
    facts = {
        "run": root,
        "method": record.method,
        "input": f"{size}, {record.photos.geometry}",
        "seconds": record.training.get("seconds"),
    }
    parts = {part: getattr(record.split, part) for part in ("fit", "calibrate", "threshold")}
    hashes = {name: digest for part in parts.values() for name, digest in part.items()}.values()
    if not as_json:  # before the photo check: the run is finished, whether the check succeeds or not
        print_facts(facts | {"images": {part: len(photos) for part, photos in parts.items()}})
        if copies := len(hashes) - len(set(hashes)):
            print_line(f"{copies} of the photos are copies of others and count once")
    lines, document = _checked(root, _outlook)
    more, photo_check = _checked(root, _look_at_photos) if check_photos else ([], None)
    lines += more
    if as_json:
        print_json(facts | {"choices": record.choices, "threshold": document, "photo_check": photo_check})
        return
    for line in lines:
        print_line(line)
    note(f"next: {shlex.join(['edge-ad', 'build-engine', str(root)])}")


def _checked(
    root: Path, look: Callable[[Run], tuple[list[str], dict[str, Any]]]
) -> tuple[list[str], dict[str, Any] | None]:
    """What was found about a finished run; nothing, with a warning, where that fails."""
    from edge_ad.cli.console import note
    from edge_ad.errors import EdgeAdError
    from edge_ad.training.runs import load_run

    try:
        return look(load_run(root))
    except EdgeAdError as error:
        note(f"warning: the run is complete; its photos were not checked: {error}")
    except KeyboardInterrupt:
        note(f"Stopped during the photo check; the run {root} is complete.")
        raise
    return [], None


def _outlook(run: Run) -> tuple[list[str], dict[str, Any]]:
    """What the threshold promises, finds, and would with more photos: lines for people and a document."""
    from dataclasses import asdict

    from edge_ad.training.threshold_outlook import threshold_outlook

    outlook = threshold_outlook(run)
    threshold = outlook.threshold
    lines = [f"threshold {threshold.value:.4g}: {threshold.rule}", *_duplicate_lines(run, outlook.duplicates)]
    if (least := min((rate.stated for rate in outlook.rates), default=0.0)) > 2 * run.false_alarm_rate:
        lines.append(
            f"{threshold.good_images} different photos cannot carry a false-alarm rate of {run.false_alarm_rate:.3g}: "
            f"at most {least:.1%} is to be expected, whatever is asked for"
        )
    lines += [
        f"asked for {rate.false_alarm_rate:.1%}: at most {rate.stated:.1%} expected, below {rate.bound:.0%} with 95 % "
        f"confidence; {rate.recall:.0%} of pseudo-defects found"
        for rate in outlook.rates
    ]
    if outlook.more:
        more = ", ".join(f"{more.photos} more: {more.stated:.1%}, below {more.bound:.0%}" for more in outlook.more)
        lines.append(f"with more good photos, at the asked rate: {more}")
    groups = [[_below(path, run.product_root) for path in group] for group in outlook.duplicates]
    return lines, asdict(outlook) | {"threshold": threshold.model_dump(), "duplicates": groups}


def _duplicate_lines(run: Run, groups: Sequence[Sequence[Path]]) -> list[str]:
    if not groups:
        return []
    named = "; ".join(" = ".join(_below(path, run.product_root) for path in group[:2]) for group in groups[:_FEW_NAMED])
    count = sum(len(group) for group in groups)
    rest = ", …" if len(groups) > _FEW_NAMED else ""
    return [f"near-duplicates: {count} photos in {len(groups)} groups, each of which counts once: {named}{rest}"]


def _look_at_photos(run: Run) -> tuple[list[str], dict[str, Any]]:
    """Run the photo check: its lines for people, and its document."""
    from edge_ad.cli.console import show_count
    from edge_ad.training.photo_check import SHEET_FILE, check_photos, photos_needed

    if len({*run.split.fit, *run.split.calibrate, *run.split.threshold}) < _FEWEST_TO_COMPARE:
        return ["too few photos to tell which of them look odd"], {}
    root, check = run.root, check_photos(run, show_count)
    lines = [
        f"held-out scores: median {check.held_out_median:.4g}, highest {check.held_out_highest:.4g} "
        f"of {check.held_out} good photos",
        "oddest good photos: "
        + ", ".join(f"{_below(path, run.product_root)} ({odd:.1f})" for path, odd in check.oddest[:_MOST_NAMED])
        + f", in deviations above the median; look at {root / SHEET_FILE}",
    ]
    if check.standing_out:
        lines.append(f"{check.standing_out} of {check.photos} good photos stand out: is there a defect in them?")
    if check.left_out:
        lines.append(f"{check.left_out} of the photos were not checked: there are too many")
    return lines, {
        "oddest": [{"photo": path, "deviations": odd} for path, odd in check.oddest],
        "standing_out": check.standing_out,
        "held_out": {"photos": check.held_out, "median": check.held_out_median, "highest": check.held_out_highest},
        "copies": check.copies,
        "photos_needed": photos_needed(run.split, run.false_alarm_rate),
        "sheet": root / SHEET_FILE,
    }


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
