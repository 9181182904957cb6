import itertools

import numpy as np
from numpy.typing import NDArray

from edge_ad.calibration.graph_runner import create_session
from edge_ad.calibration.qdq import quantise_weight, weight_scales
from edge_ad.calibration.graph import with_outputs
from edge_ad.calibration.rounding import round_with_moments, second_moments
from tests.calibration.backbones import bottleneck, photos


def test_of_two_inputs_that_are_the_same_one_takes_what_the_other_loses() -> None:
    weight = np.array([[127.0, 0.4, 0.4]], np.float32)  # one level is worth 1; the nearest levels lose 0.8 together
    together = np.array([[1.0, 0, 0], [0, 1, 1], [0, 1, 1]])
    levels = round_with_moments(weight, together)
    assert levels[0, 0] == 127
    assert sorted(levels[0, 1:]) == [0, 1]


def test_inputs_that_have_nothing_in_common_are_rounded_to_the_nearest() -> None:
    weight = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    levels = round_with_moments(weight, np.diag(np.arange(1.0, 8.0)))
    np.testing.assert_array_equal(levels, quantise_weight(weight, 0)[0])


def test_it_is_near_the_best_of_all_roundings_and_better_than_the_nearest() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(40, 6)).astype(np.float32)
    inputs = rng.normal(size=(6, 2)) @ rng.normal(size=(2, 400)) + 0.1 * rng.normal(size=(6, 400))
    moments = inputs @ inputs.T / 400
    exact = weight / weight_scales(weight, 0)[:, None]

    def error(levels: NDArray[np.generic]) -> NDArray[np.float64]:
        off = levels - exact
        return np.asarray(np.einsum("oi,ij,oj->o", off, moments, off))

    choices = (np.floor(exact) + np.array(up) for up in itertools.product((0, 1), repeat=6))
    best = np.min([error(choice) for choice in choices], axis=0).sum()
    found = error(round_with_moments(weight, moments)).sum()
    assert best <= found < 0.5 * error(quantise_weight(weight, 0)[0]).sum()
    assert found < 2 * best


def test_the_shape_stays_and_no_level_is_below_minus_127() -> None:
    rng = np.random.default_rng(1)
    weight = -np.abs(rng.normal(size=(3, 40, 1, 1))).astype(np.float32)
    levels = round_with_moments(weight, np.ones((40, 40)))
    assert levels.shape == weight.shape
    assert levels.dtype == np.int8
    assert levels.min() >= -127
    # What goes together perfectly sums to the right number, to half a level of it.
    np.testing.assert_allclose(
        levels.sum((1, 2, 3)), (weight / weight_scales(weight, 0)[:, None, None, None]).sum((1, 2, 3)), atol=1
    )


def test_inputs_that_are_always_zero_are_rounded_to_the_nearest() -> None:
    weight = np.random.default_rng(2).normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_array_equal(round_with_moments(weight, np.zeros((4, 4))), quantise_weight(weight, 0)[0])


def test_moments_are_those_of_the_values_that_int8_gives() -> None:
    model, frames = bottleneck(), photos(3)
    found = second_moments(model, {"hidden": 5.0}, (frame[None] for frame in frames))
    session = create_session(with_outputs(model, ["hidden"]))
    values = np.concatenate([session.run(["hidden"], {"image": frame[None]})[0] for frame in frames])
    rounded = np.clip(np.rint(values.astype(np.float64) / (5 / 127)), -127, 127) * (5 / 127)
    flat = rounded.transpose(0, 2, 3, 1).reshape(-1, 16)
    np.testing.assert_allclose(found["hidden"], flat.T @ flat / len(flat), rtol=1e-6)
    assert second_moments(model, {}, iter(())) == {}
