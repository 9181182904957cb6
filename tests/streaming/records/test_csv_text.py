"""CSV of records: harmless in a spreadsheet, the same in every file."""

from __future__ import annotations

import csv
import io

import pytest

from edge_ad.streaming.records.export import csv_lines


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1+cmd", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1"])
def test_a_text_is_no_formula_and_a_number_stays_one(formula: str) -> None:
    columns = ("source", "score", "frame")
    text = csv_lines([{"source": formula, "score": -2.5, "frame": -3}], columns, has_header=True)
    heading, row = csv.reader(io.StringIO(text, newline=""))
    assert heading == list(columns)
    assert row == [f"'{formula}", "-2.5", "-3"]


def test_what_is_missing_is_empty_data_is_json_and_half_characters_are_spelled_out() -> None:
    record = {"a": None, "c": {"x": float("inf")}, "d": "teil-\udcff"}
    assert csv_lines([record], ("a", "b", "c", "d"), has_header=False) == ',,"{""x"": null}",teil-\\xff\n'
