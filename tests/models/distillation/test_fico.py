"""FiCo: dynamic convolution, compensation, style filter, and the terms of the loss."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.models import create_detector
from edge_ad.models.base import TrainingBatch
from edge_ad.models.distillation import Fico
from edge_ad.models.distillation.compensation import Compensation, DynamicConv
from edge_ad.models.distillation.distance import level_loss
from edge_ad.models.distillation.fico import StyleFilter
from tests.models.detectors import fit, train


def _detector(**values: object) -> Fico:
    made = create_detector("fico", {"size": 64, **values})
    assert isinstance(made, Fico)
    return made


@pytest.mark.parametrize("training", [True, False])
def test_pictures_are_convolved_with_the_kernel_that_each_has_mixed(training: bool) -> None:
    conv, x = DynamicConv(8, 5).train(training), torch.randn(3, 8, 6, 6)
    assert conv.kernels.bias is not None
    nn.init.normal_(conv.kernels.bias)
    nn.init.normal_(conv.attention[2].weight, std=30.0)  # so that pictures choose kernels that differ
    shares = F.softmax(conv.attention(x.mean((2, 3), keepdim=True))[..., 0, 0] / 34, 1)
    assert shares.std(0).max() > 0.01
    kernels, biases = conv.kernels.weight.reshape(4, 5, 8, 3, 3), conv.kernels.bias.reshape(4, 5)
    expected = [
        F.conv2d(image[None], torch.einsum("k,koihw->oihw", share, kernels), share @ biases, padding=1)
        for image, share in zip(x, shares, strict=True)
    ]
    torch.testing.assert_close(conv(x), torch.cat(expected), rtol=1e-4, atol=1e-5)


def test_a_compensation_is_dynamic_convolution_instance_norm_and_leaky_relu() -> None:
    compensation, x = Compensation(8), torch.randn(2, 8, 6, 6)
    expected = x
    for conv in compensation.convs:
        expected = F.leaky_relu(F.instance_norm(conv(expected)), 0.01)
    torch.testing.assert_close(compensation(x), expected, rtol=1e-4, atol=1e-5)
    assert [conv.kernels.out_channels // 4 for conv in compensation.convs if isinstance(conv, DynamicConv)] == [
        4,
        2,
        4,
        8,
    ]


def test_the_style_filter_compares_the_deeper_compensations_with_the_finest() -> None:
    style_filter = StyleFilter((4, 6, 8)).eval()
    levels = [torch.randn(2, 4, 8, 8), torch.randn(2, 6, 4, 4), torch.randn(2, 8, 2, 2)]
    with torch.no_grad():
        middle = style_filter.middle(levels[0])
        coarse = style_filter.coarse(middle)
        expected = ((middle - levels[1]) ** 2).mean() + ((coarse - levels[2]) ** 2).mean()
        torch.testing.assert_close(style_filter.loss(levels), expected)


def test_the_student_goes_on_with_the_uncompensated_level(images: Tensor) -> None:
    detector = _detector()
    levels = detector.teacher.levels(images)
    with torch.no_grad():
        back = detector.student(detector.bottleneck(levels))
        for found, level, compensate in zip(detector.given_back(levels), back, detector.compensations, strict=True):
            torch.testing.assert_close(found, level + compensate(level))


def test_terms_have_the_published_weights(images: Tensor) -> None:
    detector = _detector()
    batch, generator = TrainingBatch(images, fit(detector, images)), torch.Generator()
    stage = detector.stages()[0]
    detector.start_stage(stage)
    terms = detector.training_loss(batch, stage, generator.manual_seed(0))
    seen = detector.all_seen(batch, generator.manual_seed(0))
    lacking = [[c(x) for c, x in zip(detector.compensations, each.back, strict=True)] for each in seen]
    whole = [[a + b for a, b in zip(each.back, more, strict=True)] for each, more in zip(seen, lacking, strict=True)]
    levels = [level_loss(each.levels, out) for each, out in zip(seen, whole, strict=True)]
    before, after = [each.back[:1] for each in seen], [out[:1] for out in whole]
    assert detector.style_filter is not None
    torch.testing.assert_close(terms["levels"], 0.9 * (levels[0] + 0.05 * (levels[1] + levels[2])))
    last = sum(level_loss(part[0], part[view]) for part in (before, after) for view in (1, 2))
    torch.testing.assert_close(terms["decoder"], 0.05 * last)
    filtered = torch.stack([detector.style_filter.loss(more) for more in lacking]).sum()
    torch.testing.assert_close(terms["filter"], 0.05 * 0.02 * filtered)


def test_parts_can_be_left_out(images: Tensor) -> None:
    assert "filter" not in _terms(_detector(filter_weight=0), images)
    plain = _detector(compensation=False)
    assert "filter" not in _terms(plain, images)
    assert not list(plain.compensations.parameters())


def test_all_of_it_learns(images: Tensor) -> None:
    detector = _detector()
    before = {name: value.clone() for name, value in detector.named_parameters()}
    history = train(detector, TrainingBatch(images, fit(detector, images)), detector.stages()[0], steps=12)
    assert history[-1]["levels"] < 0.9 * history[0]["levels"]
    moved = {name for name, value in detector.named_parameters() if not torch.equal(value, before[name])}
    assert {"bottleneck", "student", "compensations", "style_filter"} == {name.split(".")[0] for name in moved}


def _terms(detector: Fico, images: Tensor) -> dict[str, Tensor]:
    stage = detector.stages()[0]
    batch = TrainingBatch(images, fit(detector, images))
    detector.start_stage(stage)
    return detector.training_loss(batch, stage, torch.Generator().manual_seed(0))
