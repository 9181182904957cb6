"""What the verbs print."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_ad.cli.console import note, print_facts, print_json, print_table
from edge_ad.manifest import Threshold
from edge_ad.strict_json import plain


@dataclass(frozen=True)
class Row:
    path: Path
    score: float


def test_json_keeps_every_digit_and_the_order_of_keys(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"b": 0.1 + 0.2, "a": 1})
    assert capsys.readouterr().out == '{\n  "b": 0.30000000000000004,\n  "a": 1\n}\n'


def test_json_takes_what_the_rooms_hand_out(capsys: pytest.CaptureFixture[str]) -> None:
    threshold = Threshold(
        value=1.5, rule="max", false_alarm_rate=0.01, false_alarm_bound=0.2, confidence=0.95, good_images=9
    )
    print_json({"rows": [Row(Path("a/b.png"), 2.0)], "t": threshold, "n": np.float32(0.5), "m": np.arange(2)})
    shown = json.loads(capsys.readouterr().out)
    assert shown["rows"] == [{"path": "a/b.png", "score": 2.0}]
    assert shown["t"]["good_images"] == 9
    assert (shown["n"], shown["m"]) == (0.5, [0, 1])


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner)))
def test_json_is_always_json_that_others_can_read(value: object) -> None:
    text = json.dumps(plain(value), allow_nan=False)
    assert plain(json.loads(text)) == plain(value)


def test_a_table_for_a_pipe_is_not_folded_and_takes_brackets_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    name = "[red]" + "x" * 100
    print_table(["name", "ms"], [[name, 1.23456], ["b", 12.0]], title="times")
    assert capsys.readouterr().out.splitlines() == [
        "times",
        f"{'name':<105}     ms",
        f"{name}  1.235",
        f"{'b':<105}     12",
    ]


def test_a_table_without_rows_still_has_its_headings(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name", "ms"], [])
    assert capsys.readouterr().out.split() == ["name", "ms"]


def test_facts_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts({"a": 1, "long": None, "ok": True})
    assert capsys.readouterr().out == "a     1\nlong  -\nok    yes\n"


def test_a_note_leaves_stdout_to_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    note("working")
    assert capsys.readouterr() == ("", "working\n")
