"""What the verbs print."""

import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_ad.cli.console import note, print_facts, print_json, print_line, print_table, rewrite_line
from edge_ad.cli.failures import report_failure
from edge_ad.errors import DataError
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


_HOSTILE = "\x1b[2J\x9b31mOK\r\nNG\u202e"
_HARMLESS = r"\x1b[2J\x9b31mOK\r\nNG\u202e"


def test_what_comes_from_outside_does_nothing_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    note(_HOSTILE)
    print_line(_HOSTILE)
    rewrite_line(_HOSTILE)
    print_facts({_HOSTILE: _HOSTILE})
    print_table([_HOSTILE], [[_HOSTILE]], title=f"\n{_HOSTILE}")
    output = capsys.readouterr()
    shown = (output.out + output.err).replace("\x1b[K", "").replace("\r", "", 1)  # what rewrites the line is ours
    assert shown.count(_HARMLESS) == 8
    assert not any(sign in shown for sign in "\x1b\x9b\r\u202e")


@pytest.mark.parametrize("error", [DataError(f"No such file: {_HOSTILE}.", _HOSTILE), ValueError(_HOSTILE)])
def test_what_an_error_quotes_does_nothing_to_a_terminal(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    report_failure(error)
    shown = capsys.readouterr().err
    assert r"\x1b[2J\x9b31mOK NG\u202e" in shown
    assert not any(sign in shown for sign in "\x1b\x9b\r\u202e")


def test_a_terminal_that_has_gone_does_not_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as gone:  # noqa: PTH123 - what every write to fails
        monkeypatch.setattr(sys, "stderr", gone)
        note("working")
        rewrite_line("1 of 2")
        monkeypatch.undo()
        with suppress(OSError):
            gone.close()
