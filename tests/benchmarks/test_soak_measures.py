"""What a soak calls flat, and what it does not."""

from collections.abc import Callable

import pytest

from benchmarks.soak_measures import Measures


def _measures(
    *,
    rss_mib: Callable[[int], float] = lambda index: 200.0,
    descriptors: Callable[[int], int] = lambda index: 15,
    threads: Callable[[int], int] = lambda index: 20,
) -> Measures:
    measures = Measures(50_000)
    for index in range(1000):
        sample = {"descriptors": descriptors(index), "threads": threads(index)}
        measures.add(50 * index, rss_mib=rss_mib(index), **sample)
    return measures


def test_what_a_bundle_takes_while_it_is_opened_is_no_growth() -> None:
    measures = _measures(
        rss_mib=lambda index: 200.0 + 30.0 * (index % 10 == 0),
        descriptors=lambda index: 15 + 3 * (index % 10 < 8),
        threads=lambda index: 20 + 6 * (index % 7 != 0),
    )
    assert measures.checks() == {"memory_flat": True, "descriptors_flat": True, "threads_flat": True}
    assert measures.to_dict()["mib_per_10000_frames"] == 0.0


def test_what_is_taken_before_the_warm_up_is_over_is_no_growth() -> None:
    assert all(_measures(rss_mib=lambda index: 100.0 + min(index, 190)).checks().values())


@pytest.mark.parametrize(
    ("name", "measures"),
    [
        ("memory_flat", _measures(rss_mib=lambda index: 200.0 + 0.02 * index)),  # 4 MiB in 10,000 frames
        ("descriptors_flat", _measures(descriptors=lambda index: 15 + index // 200)),  # one for each of five restarts
        ("threads_flat", _measures(threads=lambda index: 20 + index // 100)),  # one for each tenth swap
    ],
)
def test_what_is_not_given_back_is_growth(name: str, measures: Measures) -> None:
    assert [check for check, holds in measures.checks().items() if not holds] == [name]
