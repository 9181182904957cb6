"""What an epoch sees."""

import numpy as np
import torch

from edge_ad.models.base import Stage
from edge_ad.training.batches import LoopSettings, TrainingSet, batch_count, batch_parts, epoch_generator
from edge_ad.training.loop import epochs_of

_SETTINGS = LoopSettings(seed=3, device=torch.device("cpu"), batch_size=4)


def _data(images: int, views: int = 0) -> TrainingSet:
    return TrainingSet(np.zeros((images, 2, 2, 3), np.uint8), torch.zeros(images, 0), views)


def _seen(data: TrainingSet, epoch: int) -> list[int]:
    parts = batch_parts(data, batch_count(data, _SETTINGS), epoch_generator(_SETTINGS, 0, epoch))
    return [int(index) for part in parts for index in part]


def test_an_epoch_sees_each_photo_once_as_it_is_or_in_one_of_its_views() -> None:
    data = _data(30, views=2)
    epochs = [_seen(data, epoch) for epoch in range(40)]
    for seen in epochs:
        assert sorted(index // 3 for index in seen) == list(range(10))
    assert {index for seen in epochs for index in seen} == set(range(30))
    assert _seen(data, 7) == epochs[7]


def test_views_lengthen_neither_an_epoch_nor_a_stage() -> None:
    with_views, plain = _data(48, views=3), _data(12)
    assert batch_count(with_views, _SETTINGS) == batch_count(plain, _SETTINGS) == 3
    stage = Stage("some", 0, 1e-3, "fixed", steps=30)
    assert epochs_of(stage, with_views.photos, _SETTINGS.batch_size) == 10
    assert sorted(_seen(plain, 0)) == list(range(12))
