"""MSFlow: what is trained, what is normal, and how scales become a map and a score."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.errors import UsageError
from edge_ad.models import create_detector, parse_parameters
from edge_ad.models.base import TrainingBatch
from edge_ad.models.msflow import MsFlow
from edge_ad.models.msflow.flows import negative_log_likelihood
from edge_ad.models.msflow.levels import PooledLevels
from edge_ad.models.msflow.likelihood import LikelihoodMap, Reference, Score, log_likelihood, mean_of_highest
from tests.models.detectors import fit, train

SMALL = {"size": 64, "blocks": "1,1,2", "condition": 8}


def make(**values: object) -> MsFlow:
    made = create_detector("msflow", {**SMALL, **values})
    assert isinstance(made, MsFlow)
    return made


def trained(detector: MsFlow, images: Tensor, steps: int) -> list[dict[str, float]]:
    history = train(detector, TrainingBatch(images, fit(detector, images)), detector.stages()[0], steps=steps)
    detector.eval().requires_grad_(False)
    detector.end_stage(detector.stages()[0], (), ())
    return history


def test_levels_are_pooled_as_published_and_packed_for_the_cache(images: Tensor) -> None:
    levels = PooledLevels("efficientnet-lite0", "random", 0, size_hw=(64, 64))
    plain = super(PooledLevels, levels).levels(images)
    for found, level in zip(levels.levels(images), plain, strict=True):
        torch.testing.assert_close(found, F.avg_pool2d(level, 3, 2, 1), rtol=1e-5, atol=1e-5)
    for found, expected in zip(levels.unpack(levels(images)), levels.levels(images), strict=True):
        assert torch.equal(found, expected)


def test_only_the_flow_learns_and_good_parts_become_likelier(images: Tensor) -> None:
    detector = make()
    before = {name: value.clone() for name, value in detector.levels.state_dict().items()}
    history = trained(detector, images, 30)
    assert history[-1]["nll"] < 0.8 * history[0]["nll"]
    assert all(torch.equal(value, before[name]) for name, value in detector.levels.state_dict().items())


def test_other_features_start_the_flow_anew(images: Tensor) -> None:
    detector = make()
    first = {name: value.clone() for name, value in detector.flow.state_dict().items()}
    trained(detector, images, 3)
    assert any(not torch.equal(value, first[name]) for name, value in detector.flow.state_dict().items())
    fit(detector, images * 0.9)
    assert all(torch.equal(value, first[name]) for name, value in detector.flow.state_dict().items())


def test_the_map_points_at_what_was_not_seen_and_the_score_rises(images: Tensor) -> None:
    detector = make(sigma=2, score="map")
    trained(detector, images, 60)
    defective = images[:1].clone()
    defective[..., 16:32, 40:56] = torch.rand(1, 3, 16, 16)
    good, bad = detector(images[:1]), detector(defective)
    assert bad.score > 1.2 * good.score
    row, column = divmod(int((bad.anomaly_map - good.anomaly_map).flatten().argmax()), 64)
    assert 8 <= row < 40
    assert 32 <= column < 64


def test_noise_keeps_photos_that_were_not_trained_on_likely(images: Tensor) -> None:
    others = (images + 0.05 * torch.randn(images.shape)).clamp(0, 1)
    found = []
    for noise in (0.0, 0.5):
        detector = make(noise=noise, seed=3)
        trained(detector, images, 80)
        with torch.no_grad():
            levels = detector.standardisation(detector.levels.levels(others))
            found.append(float(negative_log_likelihood(detector.flow(levels))))
    assert found[1] < found[0]


def test_held_out_photos_are_the_unit_of_score_and_map(images: Tensor) -> None:
    detector = make(score="map")
    trained(detector, images, 10)
    generator = torch.random.get_rng_state()
    torch.manual_seed(5)
    held_out = detector.levels(images)
    torch.random.set_rng_state(generator)
    detector.fit_features(held_out, held_out)
    detector.end_stage(detector.stages()[0], (), ())
    output = detector(images)
    assert torch.equal(output.score, output.anomaly_map.amax((1, 2, 3)))
    assert float(output.score.mean()) == pytest.approx(1, abs=1e-4)
    detector.likelihood.score = "product"
    assert float(detector(images).score.mean()) == pytest.approx(1, abs=1e-4)
    assert not torch.equal(detector(images).score, output.score)


@pytest.mark.parametrize("score", ["map", "product"])
@pytest.mark.parametrize(("reference", "notices"), [("photos", True), ("picture", False)])
def test_what_is_wrong_everywhere_is_noticed_beside_photos_alone(
    reference: Reference, notices: bool, score: Score
) -> None:
    likelihood = LikelihoodMap((64, 64), (8, 16, 32), sigma=4.0, reference=reference, score=score)
    good = [-0.5 - 0.2 * torch.rand(6, 1, side, side) for side in (8, 4, 2)]
    likelihood.fit([good])
    wrong = likelihood([level - 5 for level in good])
    assert bool((wrong.score > 2 * likelihood(good).score).all()) is notices
    assert bool((wrong.anomaly_map.amin((1, 2, 3)) > likelihood(good).anomaly_map.amax((1, 2, 3))).all()) is notices


@pytest.mark.parametrize("share", [0.001, 0.03, 0.5, 1.0])
def test_the_mean_of_the_highest_is_that_of_the_sorted_values(share: float) -> None:
    values = torch.rand(3, 1, 40, 50) ** 4
    values[1] = 0.25
    values[2, 0, :20] = 1.0
    count = max(1, int(2000 * share))
    expected = values.flatten(1).sort(descending=True).values[:, :count].mean(1)
    torch.testing.assert_close(mean_of_highest(values, share), expected, rtol=0, atol=2e-5)


def test_a_latent_beyond_every_bound_leaves_finite_numbers() -> None:
    likelihood = LikelihoodMap((64, 64), (8, 16, 32), sigma=4.0, score="product")
    output = likelihood([log_likelihood(torch.full((1, 4, side, side), 1e30)) for side in (8, 4, 2)])
    assert torch.isfinite(output.anomaly_map).all()
    assert torch.isfinite(output.score).all()


def test_the_deployed_detector_gives_the_same_numbers(images: Tensor) -> None:
    detector = make()
    trained(detector, images, 5)
    for found, expected in zip(detector.deployed()(images), detector(images), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"backbone": "dinov2-small"}, "backbone"),
        ({"blocks": "2,5"}, "blocks"),
        ({"blocks": "0,5,8"}, "blocks"),
        ({"condition": 6}, "condition"),
        ({"top_share": 0}, "top_share"),
    ],
)
def test_wrong_parameters_are_named(values: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        parse_parameters("msflow", values)


def test_a_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="does not fit"):
        make(size=100)
