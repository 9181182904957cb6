from __future__ import annotations

import os
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edge_ad.errors import UsageError
from edge_ad.training.feature_cache import FeatureCache, cached_features, compute_features, to_tensor


class _Counting(nn.Module):
    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("gain", torch.tensor(gain))
        self._seen: list[int] = []

    @property
    def calls(self) -> int:
        return len(self._seen)

    def forward(self, images: Tensor) -> Tensor:
        self._seen.append(len(images))
        return images[:, :, ::8, ::8] * self.get_buffer("gain")


def _images(value: int = 10, count: int = 3) -> np.ndarray:
    return np.full((count, 16, 16, 3), value, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "features"


def test_features_are_computed_once_for_the_same_pixels_and_weights() -> None:
    backbone = _Counting()
    first = cached_features(backbone, _images())
    assert torch.equal(first, cached_features(backbone, _images()))
    assert backbone.calls == 1


class _Strided(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :, :: self.stride, :: self.stride]


def test_a_network_of_the_same_modules_that_is_set_otherwise_is_computed_anew() -> None:
    assert cached_features(_Strided(8), _images()).shape != cached_features(_Strided(4), _images()).shape


@pytest.mark.parametrize(("gain", "value"), [(2.0, 10), (1.0, 11)])
def test_other_weights_or_pixels_are_computed_anew(gain: float, value: int) -> None:
    cached_features(_Counting(), _images())
    backbone = _Counting(gain)
    features = cached_features(backbone, _images(value))
    assert backbone.calls == 1
    assert torch.allclose(features, torch.full_like(features, gain * value / 255))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"garbage", id="foreign"),
        pytest.param(lambda content: content[:-1], id="cut short"),
        pytest.param(lambda content: content + b"\0", id="longer"),
        pytest.param(lambda content: content[:100], id="cut in the header"),
        pytest.param(lambda content: bytes(128) + content[128:], id="no header"),
        pytest.param(lambda content: content.replace(b"(3, 3,", b"(3, 0,"), id="other shape"),
        pytest.param(lambda content: content.replace(b"(3, 3,", b"(3( 3,"), id="no shape"),
        pytest.param(lambda content: content.replace(b"<f4", b"<i4"), id="other type"),
        pytest.param(lambda content: content.replace(b"False", b"True "), id="other order"),
        pytest.param(lambda content: content.replace(b"{", b'"', 1), id="no dictionary"),
        pytest.param(lambda content: b"PK\x03\x04" + content[4:], id="archive"),
    ],
)
def test_a_damaged_cache_file_is_computed_anew(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    first = cached_features(_Counting(), _images()).clone()
    (path,) = folder.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    backbone = _Counting()
    for _ in range(2):
        assert torch.equal(first, cached_features(backbone, _images()))
    assert backbone.calls == 1


@pytest.mark.parametrize("count", [1, 8, 9, 20])
def test_a_cached_set_is_bit_for_bit_what_is_computed(count: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    network = torch.nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    computed = compute_features(network, images)
    for features in (cached_features(network, images), cached_features(network, images)):
        assert torch.equal(features, computed)
        assert features.is_contiguous()
        assert not features.requires_grad


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [(torch.float16, True), (torch.float32, True), (torch.float64, True), (torch.bfloat16, False)],
)
def test_types_that_numpy_has_are_kept_as_they_are(folder: Path, dtype: torch.dtype, kept: bool) -> None:
    backbone = _Counting().to(dtype)
    backbone.forward = lambda images: images[:, :, ::8, ::8].to(dtype)  # type: ignore[method-assign]
    first, again = (cached_features(backbone, _images()) for _ in range(2))
    assert first.dtype == again.dtype == dtype
    assert torch.equal(first, again)
    assert bool(list(folder.iterdir())) is kept


def test_a_kept_set_is_a_numpy_file_of_its_own(folder: Path) -> None:
    features = cached_features(_Counting(), _images())
    (path,) = folder.iterdir()
    np.testing.assert_array_equal(np.load(path), features.numpy())


def test_writing_to_a_set_reaches_neither_the_file_nor_another_reader() -> None:
    expected = compute_features(_Counting(), _images())
    mine, other = (cached_features(_Counting(), _images()) for _ in range(2))
    mine.zero_()
    for features in (other, cached_features(_Counting(), _images())):
        assert torch.equal(features, expected)


@pytest.mark.skipif(sys.platform == "win32", reason="a mapped file is not deleted there")
def test_a_deleted_set_stays_readable_where_it_is_mapped(folder: Path) -> None:
    features = cached_features(_Counting(), _images())
    (path,) = folder.iterdir()
    path.unlink()
    assert torch.equal(features, compute_features(_Counting(), _images()))


def test_batches_are_let_go_as_they_are_written() -> None:
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    most = []

    class Watched(_Counting):
        def forward(self, images: Tensor) -> Tensor:
            most.append(len(alive))
            features = super().forward(images)
            alive.add(features)
            return features

    cached_features(Watched(), _images(count=80))
    assert len(most) == 10
    assert max(most) <= 2  # the first, which tells the shape, and the last


def test_another_number_of_threads_is_computed_anew() -> None:
    backbone = _Counting()
    cached_features(backbone, _images())
    torch.set_num_threads(2)
    cached_features(backbone, _images())
    assert backbone.calls == 2


def test_a_limit_of_zero_keeps_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_AD_CACHE_LIMIT", "0")
    cached_features(_Counting(), _images())
    assert not folder.exists()


def test_a_wrong_limit_is_told_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_AD_CACHE_LIMIT", "much")
    backbone = _Counting()
    with pytest.raises(UsageError):
        cached_features(backbone, _images())
    assert backbone.calls == 0


def test_a_set_above_the_limit_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_AD_CACHE_LIMIT", "1000")
    backbone = _Counting()
    features = cached_features(backbone, _images(count=20))
    assert torch.equal(features, compute_features(_Counting(), _images(count=20)))
    assert backbone.calls == 3
    assert not list(folder.iterdir())


def test_passing_sets_do_not_drive_out_what_comes_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_AD_CACHE_LIMIT", "600")  # two sets of 272 bytes
    for age_s, value in enumerate((1, 2)):
        cached_features(_Counting(), _images(value))
        for path in folder.iterdir():
            os.utime(path, (0, age_s))
    calls = []
    for _ in range(2):
        backbone = _Counting()
        of = FeatureCache(backbone)
        for value in (10, 20, 30, 40):  # the images, and three draws of painted ones
            assert torch.equal(of(_images(value)), compute_features(_Counting(), _images(value)))
        calls.append(backbone.calls)
    assert calls == [4, 2]  # older sets made room; the second time finds as many as there is room for
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 600


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """The system refuses to write more to one file, as it does on a full disk."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of a process")
def test_a_full_disk_costs_time_only(folder: Path) -> None:
    backbone = _Counting()
    with _largest_file(1000):
        features = cached_features(backbone, _images(count=20))
    assert backbone.calls == 3
    assert torch.equal(features, compute_features(_Counting(), _images(count=20)))
    assert not list(folder.iterdir())


class _FillsTheDisk(_Counting):
    def forward(self, images: Tensor) -> Tensor:
        if self.calls == 1:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (150, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        return super().forward(images)


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of a process")
def test_a_disk_that_fills_up_meanwhile_leaves_nothing_half_written(folder: Path) -> None:
    with _largest_file(1 << 30):
        features = cached_features(_FillsTheDisk(), _images(count=20))
    assert torch.equal(features, compute_features(_Counting(), _images(count=20)))
    assert not list(folder.iterdir())


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache with the features of ``_images()`` in it, in a folder that this process may only read."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        monkeypatch.setenv("EDGE_AD_CACHE", name)
        cached_features(_Counting(), _images())
        (root / "features").chmod(0o555)
        root.chmod(0o555)
        user = os.geteuid()
        if user == 0:  # may write anywhere
            os.seteuid(65534)
        yield root
        os.seteuid(user)
        root.chmod(0o755)
        (root / "features").chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="needs permissions of folders")
def test_a_cache_to_read_only_is_read(read_only: Path) -> None:
    backbone = _Counting()
    for value in (10, 11):
        features = cached_features(backbone, _images(value))
        assert torch.equal(features, compute_features(_Counting(), _images(value)))
    assert backbone.calls == 1


def test_a_cache_that_cannot_be_made_costs_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGE_AD_CACHE", str(tmp_path / "file"))
    backbone = _Counting()
    assert torch.equal(cached_features(backbone, _images()), compute_features(_Counting(), _images()))
    assert backbone.calls == 1


def test_an_error_of_the_backbone_comes_through_and_leaves_nothing(folder: Path) -> None:
    with pytest.raises(RuntimeError):
        cached_features(torch.nn.Conv2d(4, 1, 1), _images())
    assert not list(folder.iterdir())


def test_images_become_rgb_in_zero_to_one() -> None:
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[..., 0] = 255  # blue in BGR
    tensor = to_tensor(image)
    assert tensor.shape == (1, 3, 2, 2)
    assert tensor[0, 2].eq(1).all()
    assert tensor[0, :2].eq(0).all()


def test_of_two_that_need_a_set_at_the_same_time_one_computes_it() -> None:
    second_call = threading.Event()

    class Slow(_Counting):
        def forward(self, images: Tensor) -> Tensor:
            features = super().forward(images)
            if self.calls > 1:
                second_call.set()
            second_call.wait(0.5)  # for a second one that computes too
            return features

    backbone = Slow(3.5)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: FeatureCache(backbone)(_images()), range(2))
    assert torch.equal(first, second)
    assert backbone.calls == 1
