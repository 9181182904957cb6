"""Text from outside: kept readably, shown harmlessly."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_ad.outside_text import printable, storable

_ANYTHING = st.text(st.characters())  # half characters too


@given(_ANYTHING)
def test_stored_text_is_utf8_and_stays_what_it_is(text: str) -> None:
    kept = storable(text)
    assert storable(kept.encode().decode()) == kept


@given(st.binary())
def test_a_file_name_of_any_bytes_can_be_stored(name: bytes) -> None:
    storable(os.fsdecode(name)).encode()


@given(_ANYTHING)
def test_shown_text_is_one_line_without_controls(text: str) -> None:
    shown = printable(text)
    assert not {unicodedata.category(sign) for sign in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert len(shown.splitlines()) <= 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain Größe 検査 [red]", "plain Größe 検査 [red]"),
        ("\x1b[2J\rOK\n", r"\x1b[2J\rOK\n"),
        ("\x9b31m", r"\x9b31m"),
        ("txt\u202egnp.exe", r"txt\u202egnp.exe"),
        (os.fsdecode(b"teil-\xff"), r"teil-\xff"),
        ("half \ud800", r"half \ud800"),
    ],
)
def test_what_would_act_on_a_terminal_is_spelled_out(text: str, shown: str) -> None:
    assert printable(text) == shown
