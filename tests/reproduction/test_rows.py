"""Rows on disk survive a kill at any byte."""

import json
from pathlib import Path

import pytest

from edge_ad.errors import StorageError
from edge_ad.reproduction.rows import append_row, read_rows


@pytest.mark.parametrize("cut", [1, 5, 9])
def test_what_a_killed_process_left_of_a_row_is_gone_with_the_next(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_row(path, {"key": "a"})
    whole = path.read_bytes()
    path.write_bytes(whole + json.dumps({"key": "b"}).encode()[:cut])
    assert read_rows(path) == [{"key": "a"}]
    append_row(path, {"key": "c"})
    assert read_rows(path) == [{"key": "a"}, {"key": "c"}]


def test_a_damaged_line_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"key": \n{"key": "b"}\n')
    with pytest.raises(StorageError, match="is damaged"):
        read_rows(path)


def test_no_file_has_no_rows(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "rows.jsonl") == []
