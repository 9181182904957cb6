"""The measurement of thresholds by block splits: blocks, the quick fit, and the table."""

import numpy as np
import pytest
import torch

from benchmarks.threshold_splits import BLOCKS, RATES, WhitenedGaussian, scores, splits, table, turned_blocks, whitened
from edge_ad.models.patch_gaussian import PatchGaussian, PatchGaussianParameters


def test_blocks_are_turned_runs_that_keep_groups_together():
    groups = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 3, 0])
    blocks = turned_blocks(groups, 4)
    assert sorted(np.concatenate(blocks).tolist()) == list(range(13))
    assert blocks[0].tolist() == [4, 5]
    for number in (0, 3):
        assert sum(bool(np.isin(np.flatnonzero(groups == number), rows).any()) for rows in blocks) == 1


@pytest.fixture
def detector():
    torch.manual_seed(0)
    return PatchGaussian(PatchGaussianParameters(size=32, rank=4, block=1), pretrained=False).eval()


def features(count, seed=0, shift=0.0):
    """Four strong directions, as a Gaussian of rank 4 keeps, and some noise."""
    generator = torch.Generator().manual_seed(seed)
    strong = torch.randn(4, 152, generator=torch.Generator().manual_seed(9))
    drawn = torch.randn(count, 4, 4, 4, generator=generator)
    noise = 0.1 * torch.randn(count, 152, 4, 4, generator=generator)
    return torch.einsum("nrhw,rc->nchw", drawn, strong) + noise + shift


def test_the_quick_scores_are_those_of_the_detector(detector):
    fitted, others = features(60), features(10, seed=1)
    detector.fit_features(fitted, fitted)
    with torch.inference_mode():
        expected = detector.score_features(others).score.tolist()
    photos = whitened(fitted, others, np.arange(60))
    gaussian = WhitenedGaussian((4, 4), 4, detector.config.shrinkage)
    gaussian.fit(photos.good)
    detector.gaussian = gaussian
    np.testing.assert_allclose(scores(detector, photos.defective), expected, rtol=0.02)


def test_each_block_is_once_the_unseen_one_for_both_rules(detector):
    photos = whitened(features(36), features(4, seed=2, shift=3.0), np.arange(36))
    rows = list(splits(photos, detector, 5))
    assert len(rows) == BLOCKS * len(RATES) * 2
    assert all(row["unseen"] == 6 and row["found"] == row["defective"] == 4 for row in rows)
    assert {row["rule"] for row in rows} == {"blocks", "chance"}


def test_the_table_has_means_over_splits():
    row = {"product": "screw", "turn": 1, "asked": 0.05, "unseen": 10, "found": 3, "defective": 4, "stated": 0.1}
    rows = [{**row, "rule": rule, "false_alarms": alarms} for rule in ("chance", "blocks") for alarms in (0, 1)]
    assert table(rows).splitlines()[2] == "| `screw` | 2 | 5% | 5.0% | 10.0% | 75% | 5.0% | 10.0% | 75% |"
