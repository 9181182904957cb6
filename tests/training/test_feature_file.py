"""The file of a set: mapped, private to its reader, and recognised when it is not what it was."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from edge_ad.training.feature_files import file_bytes, map_features, write_features

_SHAPE = (6, 3, 4, 4)


def _set(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(_SHAPE, generator=torch.Generator().manual_seed(0)).to(dtype)


def _written(path: Path) -> Path:
    features = _set()
    write_features(path, _SHAPE, features.dtype, features.split(2))
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_a_set_is_read_as_it_was_written(tmp_path: Path, dtype: torch.dtype) -> None:
    features, path = _set(dtype), tmp_path / "set.features"
    written = write_features(path, _SHAPE, dtype, features.split(2))
    read = map_features(path)
    assert read is not None
    assert torch.equal(written, features)
    assert torch.equal(read, features)
    assert read.is_contiguous()
    assert path.stat().st_size == file_bytes(_SHAPE, dtype)
    assert list(tmp_path.iterdir()) == [path]


def test_writing_to_a_tensor_does_not_reach_the_file(tmp_path: Path) -> None:
    path = _written(tmp_path / "set.features")
    mine, other = map_features(path), map_features(path)
    assert mine is not None
    assert other is not None
    mine.zero_()
    assert torch.equal(other, _set())
    again = map_features(path)
    assert again is not None
    assert torch.equal(again, _set())


def test_a_forgotten_file_stays_readable_where_it_is_mapped(tmp_path: Path) -> None:
    path = _written(tmp_path / "set.features")
    features = map_features(path)
    path.unlink()
    assert features is not None
    assert torch.equal(features, _set())


def _flip(content: bytes, index: int) -> bytes:
    return content[:index] + bytes([content[index] ^ 1]) + content[index + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"garbage", id="foreign"),
        pytest.param(lambda content: content[:-1], id="cut short"),
        pytest.param(lambda content: content + b"\0", id="longer"),
        pytest.param(lambda content: content[:100], id="cut in the header"),
        pytest.param(lambda content: bytes(4096) + content[4096:], id="no header"),
        pytest.param(lambda content: content.replace(b"[6,3,", b"[6,0,"), id="no shape"),
        pytest.param(lambda content: content.replace(b"float32", b"complex"), id="no type"),
        pytest.param(lambda content: _flip(content, 0), id="magic"),
        pytest.param(lambda content: _flip(content, len(content) - 1), id="one bit of a value"),
    ],
)
def test_a_file_that_is_not_whole_is_no_set(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = _written(tmp_path / "set.features")
    path.write_bytes(damage(path.read_bytes()))
    assert map_features(path) is None


def test_a_folder_is_no_set(tmp_path: Path) -> None:
    assert map_features(tmp_path) is None


def test_batches_are_let_go_as_they_are_written(tmp_path: Path) -> None:
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()

    def batches() -> Iterator[Tensor]:
        for _ in range(50):
            assert len(alive) <= 1
            batch = torch.zeros(1, 3, 4, 4)
            alive.add(batch)
            yield batch
            del batch

    write_features(tmp_path / "set.features", (50, 3, 4, 4), torch.float32, batches())


@pytest.mark.parametrize("batches", [2, 4])
def test_another_number_of_images_leaves_nothing(tmp_path: Path, batches: int) -> None:
    with pytest.raises(ValueError, match="no set of shape"):
        write_features(tmp_path / "set.features", _SHAPE, torch.float32, [torch.zeros(2, 3, 4, 4)] * batches)
    assert not list(tmp_path.iterdir())
