"""JSON that every reader takes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_ad.strict_json import to_json

_LEAVES = st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters())


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


@given(st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner)))
def test_whatever_is_written_is_strict_and_can_be_sent_as_utf8(value: object) -> None:
    found = json.loads(to_json(value), parse_constant=_refuse)
    json.dumps(found, ensure_ascii=False).encode()


def test_numbers_that_json_does_not_have_are_null_wherever_they_are() -> None:
    value = {"a": [math.inf, -math.inf, {"b": math.nan}], "c": np.array([1.0, np.nan]), "d": np.float32("inf")}
    assert json.loads(to_json(value)) == {"a": [None, None, {"b": None}], "c": [1.0, None], "d": None}


def test_what_it_does_not_know_is_written_as_its_text() -> None:
    assert json.loads(to_json({"path": Path("a/b"), "error": ValueError("x")})) == {"path": "a/b", "error": "x"}
