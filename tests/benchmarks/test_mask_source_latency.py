"""The table of what mask sources cost: its rows, and what a row says."""

from benchmarks import mask_source_latency as table
from edge_ad.models.ear import EarParameters
from edge_ad.models.mask_sources.registry import MASK_SOURCES


def test_every_mask_source_but_the_controls_has_a_row_of_known_parameters() -> None:
    assert {source for source, _ in table.SOURCES.values()} == set(MASK_SOURCES) - {"full", "none"}
    networks = {source for source, kind in MASK_SOURCES.items() if kind.read is not None}
    for source, values in table.SOURCES.values():
        assert source in networks or set(values) <= set(EarParameters.model_fields)


def test_the_table_has_weights_and_time_over_the_first_row() -> None:
    rows = [{"source": "`a`", "million_weights": 1.2, "cpu_ms": 3.0, "ratio": 1.0}]
    assert table.markdown(rows).splitlines()[2] == "| `a` | 1.2 | 1.0 |"
