"""What a sweep says of itself while it runs: counts of each method, and the time that is left."""

import pytest

from edge_ad.cli.sweep_table import SweepTable
from edge_ad.sweeps.cell_folder import Cost, Failure, Finished
from edge_ad.sweeps.cells import Cell, make_cell
from edge_ad.sweeps.controller import Answer
from edge_ad.sweeps.progress import SweepProgress


def cells(group: str, count: int) -> list[Cell]:
    return [
        make_cell("a:b", {"number": number}, {"method": group}, group=group, identity={group: number})
        for number in range(count)
    ]


def done(cell: Cell, seconds: float) -> Answer:
    cost = Cost(seconds=seconds, cpu_seconds=seconds, peak_mib=100, host="here", finished="2026-11-29T22:00:00+00:00")
    return Answer(cell, Finished(result={}, cost=cost))


def test_a_method_is_reckoned_with_its_own_time_and_an_unknown_one_with_the_mean() -> None:
    fast, slow, new = cells("fast", 3), cells("slow", 2), cells("new", 1)
    progress = SweepProgress([*fast, *slow, *new], workers=2)
    assert progress.seconds_left() is None
    progress.add(done(fast[0], 10.0))
    progress.add(done(slow[0], 100.0))
    progress.add(Answer(fast[1], None, Failure(message="No.")))
    progress.runs([fast[2], slow[1]])
    progress.add(done(fast[2], 10.0))  # an answer ends what runs
    assert progress.seconds_left() == pytest.approx((100 + 40) / 2)
    counts = {
        each.group: (each.done, each.failed, each.running, each.total, each.seconds) for each in progress.groups()
    }
    assert counts == {"fast": (2, 1, 0, 3, 10.0), "slow": (1, 0, 1, 2, 100.0), "new": (0, 0, 0, 1, None)}


def test_each_new_answer_is_a_line_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    (one, two, three) = cells("fast", 3)
    progress = SweepProgress([one, two, three], workers=1)
    with SweepTable() as table:
        for answer in (done(one, 3.0), Answer(two, None, Failure(message="The photos are of a cat."))):
            progress.add(answer)
            table(progress, answer)
        table(progress, None)
        old = Answer(three, done(three, 1.0).finished, is_new=False)
        progress.add(old)
        table(progress, old)
    assert capsys.readouterr().err.splitlines() == [
        "1/3 fast: 3.0 s · 6 s left",
        "2/3 fast: failed: The photos are of a cat. · 3 s left",
    ]
