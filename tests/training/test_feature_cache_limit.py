"""Room on disk: how it is given, and who goes first."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from edge_ad.errors import UsageError
from edge_ad.training.feature_cache import byte_limit, make_room


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", 4 << 30),
        ("0", 0),
        ("123456", 123456),
        ("4G", 4 << 30),
        ("1.5g", 3 << 29),
        ("500 MB", 500 << 20),
        ("2GiB", 2 << 30),
        ("1T", 1 << 40),
    ],
)
def test_a_limit_is_bytes_or_has_a_unit(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv("EDGE_AD_CACHE_LIMIT", text)
    assert byte_limit() == size


@pytest.mark.parametrize("text", ["much", "-1", "4X", "G", "1e9", "1,5G", "nan", "9" * 400])
def test_what_is_no_size_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("EDGE_AD_CACHE_LIMIT", text)
    with pytest.raises(UsageError, match=r"EDGE_AD_CACHE_LIMIT=.* is not a size"):
        byte_limit()


def _file(folder: Path, digit: str, *, age_s: float, suffix: str = ".npy", size: int = 100) -> Path:
    path = folder / f"{digit * 64}{suffix}"
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    new, old = _file(tmp_path, "a", age_s=1), _file(tmp_path, "b", age_s=3)
    older = [_file(tmp_path, "c", age_s=4, suffix=suffix) for suffix in (".features", ".safetensors")]  # of 0.1.0
    assert make_room(tmp_path, 100, 200, set())
    assert [path.exists() for path in (new, old, *older)] == [True, False, False, False]


def test_nothing_goes_while_there_is_room(tmp_path: Path) -> None:
    path = _file(tmp_path, "a", age_s=1)
    assert make_room(tmp_path, 100, 200, set())
    assert path.exists()


@pytest.mark.parametrize(("needed", "in_use"), [(201, "b"), (150, "a")])
def test_nothing_goes_in_vain(tmp_path: Path, needed: int, in_use: str) -> None:
    path = _file(tmp_path, "a", age_s=1)
    assert not make_room(tmp_path, needed, 200, {tmp_path / f"{in_use * 64}.npy"})
    assert path.exists()


def test_what_others_are_writing_counts_and_stays(tmp_path: Path) -> None:
    path = _file(tmp_path, "a", age_s=1, suffix="-01234567.partial")
    assert not make_room(tmp_path, 150, 200, set())
    assert path.exists()


def test_other_files_are_neither_counted_nor_removed(tmp_path: Path) -> None:
    photo = tmp_path / "photo.npy"
    photo.write_bytes(bytes(1000))
    assert make_room(tmp_path, 100, 200, set())
    assert photo.exists()


def test_unfinished_files_go_an_hour_after_their_last_write(tmp_path: Path) -> None:
    suffix = "-01234567.partial"
    abandoned, written = _file(tmp_path, "a", age_s=4000, suffix=suffix), _file(tmp_path, "b", age_s=9, suffix=suffix)
    assert make_room(tmp_path, 100, 1000, set())
    assert [path.exists() for path in (abandoned, written)] == [False, True]
