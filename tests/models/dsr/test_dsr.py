"""Losses against values worked out by hand, stages, map and score, the authors' file, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edge_ad.data.simulated_defects import DefectSimulator
from edge_ad.errors import CheckpointError, DataError, UsageError
from edge_ad.models.base import Stage, TrainingBatch
from edge_ad.models.dsr import Dsr, DsrParameters
from edge_ad.models.dsr.autoencoder import Latents, TwoLevelAutoencoder
from edge_ad.models.dsr.networks import FORMS, SegmentationUNet
from edge_ad.models.dsr.pretrained import load_quantiser
from edge_ad.models.dsr.samples import StageSimulator
from edge_ad.models.dsr.subspaces import DualSubspaceNetwork, LossWeights


def _detector(**values: object) -> Dsr:
    torch.manual_seed(0)
    return Dsr(DsrParameters.model_validate({"size": 64, **values}), pretrained=False).eval()


def _batch(images: int = 2) -> TrainingBatch:
    masks = torch.zeros(images, 1, 64, 64)
    masks[0, :, 4:20, 5:30] = 1
    good = torch.rand(images, 3, 64, 64)
    return TrainingBatch(good, torch.empty(images, 0), torch.where(masks > 0, 0.5, good), masks)


def _stage(name: str) -> Stage:
    (found,) = (stage for stage in _detector().stages() if stage.name == name)
    return found


def _moved(detector: Dsr, name: str) -> set[str]:
    """Networks whose weights one step of a stage moves."""
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    optimiser = torch.optim.Adam(detector.start_stage(_stage(name)), 1e-2)
    torch.autograd.backward(
        list(detector.training_loss(_batch(), _stage(name), torch.Generator().manual_seed(0)).values())
    )
    optimiser.step()
    return {
        key.removeprefix("network.").split(".")[0]
        for key, value in detector.state_dict().items()
        if not torch.equal(value, before[key])
    }


@pytest.mark.parametrize(
    ("name", "networks"),
    [
        ("quantiser", {"autoencoder"}),
        ("subspaces", {"restrict_coarse", "restrict_fine", "object_decoder", "detection"}),
        ("upsampling", {"upsampling"}),
    ],
)
def test_each_stage_moves_its_own_networks_and_no_other(name: str, networks: set[str]) -> None:
    assert _moved(_detector(), name) == networks


def test_published_has_as_many_weights_as_the_authors_networks() -> None:
    """Biases do not count: an instance norm takes away those of theirs that ours have not."""
    with torch.device("meta"):
        network, upsampling = DualSubspaceNetwork(FORMS["published"]), SegmentationUNet(8, FORMS["published"])
    parts = (network.autoencoder, network.restrict_fine, network.object_decoder, network.detection, upsampling)
    weights = [sum(p.numel() for name, p in part.named_parameters() if "bias" not in name) for part in parts]
    assert weights == [1_923_072, 7_815_168, 9_415_680, 5_607_936, 5_609_088]


def test_the_loss_of_the_quantiser_is_error_over_variance_and_commitment() -> None:
    network, images = _detector().network, torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        latents, quantised = network.autoencoder.encode(images)
        image = network.autoencoder.decode(quantised)
    books = network.autoencoder.coarse_codes, network.autoencoder.fine_codes
    for book in books:  # as if trained: none starts anew, and what they stand for does not count before the next step
        book.get_buffer("uses").fill_(5.0)
    terms = network.quantiser_loss(images, torch.Generator().manual_seed(0))
    squares = (image - images).numpy().astype(np.float64) ** 2
    assert terms["l2"].item() == pytest.approx(squares.mean() / images.double().var().item(), rel=1e-4)
    commitments = [((a - b).numpy().astype(np.float64) ** 2).mean() for a, b in zip(latents, quantised, strict=True)]
    assert terms["commitment"].item() == pytest.approx(0.25 * sum(commitments), rel=1e-4)


def test_the_loss_of_the_subspaces_has_four_terms_between_good_and_restored() -> None:
    network, batch = _detector().network, _batch()
    assert batch.masks is not None
    clean = torch.zeros_like(batch.masks)  # no anomaly: what is restored is what was good
    network.eval()
    weights = LossWeights(image=10.0, focusing=1.0)
    terms = network.subspace_loss(batch.images, clean, 0.2, weights, torch.Generator().manual_seed(0))
    with torch.no_grad():
        quantised = network.autoencoder.encode(batch.images)[1]
        restricted = network.restrict(quantised)
        specific, general = network.specific(restricted), network.autoencoder.decode(quantised)
        logits = network.detection(specific, general).double().numpy()
    for name, found, good in zip(("coarse", "fine"), restricted, quantised, strict=True):
        assert terms[name].item() == pytest.approx(((found - good) ** 2).mean().item(), rel=1e-4)
    assert terms["image"].item() == pytest.approx(10 * ((specific - batch.images) ** 2).mean().item(), rel=1e-4)
    normal = 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))
    assert terms["focal"].item() == pytest.approx(float((-(1 - normal) * np.log(normal)).mean()), rel=1e-3)


def test_the_segmentation_teaches_neither_decoder() -> None:
    network, batch = _detector().network, _batch()
    network.start_stage("subspaces")
    assert batch.masks is not None
    terms = network.subspace_loss(batch.images, batch.masks, 0.2, LossWeights(), torch.Generator().manual_seed(0))
    terms["focal"].backward()
    assert all(parameter.grad is None for parameter in network.object_decoder.parameters())
    assert any(parameter.grad is not None for parameter in network.detection.parameters())


def test_the_image_teaches_the_restriction_through_the_codes() -> None:
    network, batch = _detector().network, _batch()
    network.start_stage("subspaces")
    assert batch.masks is not None
    terms = network.subspace_loss(batch.images, batch.masks, 0.2, LossWeights(), torch.Generator().manual_seed(0))
    terms["image"].backward()
    for restriction in (network.restrict_coarse, network.restrict_fine):
        gradient = restriction.head.weight.grad
        assert gradient is not None
        assert gradient.abs().max() > 0


def test_the_map_is_the_refined_probability_and_the_score_the_largest_mean_of_the_first_one() -> None:
    detector, images = _detector(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        output, found = detector(images), detector.network(images)
        classes = found.logits.softmax(1)
        refined = detector.upsampling(found.specific, found.general, classes)
    torch.testing.assert_close(output.anomaly_map, refined.softmax(1)[:, 1:])
    means = nn.functional.avg_pool2d(classes[:, 1:], 21, 1, 10)
    torch.testing.assert_close(output.score, means.amax((1, 2, 3)))


def test_what_is_deployed_gives_the_detectors_numbers() -> None:
    detector, images = _detector(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(detector.deployed()(images), detector(images), rtol=0, atol=1e-6)


def _their_state(autoencoder: TwoLevelAutoencoder) -> dict[str, Tensor]:
    """Random weights under the authors' names, with their shapes."""
    blocks = {"inner": "1", "outer": "3"}
    names: dict[str, Tensor] = {}
    layers = {"fine_encoder": "_encoder_b", "coarse_encoder": "_encoder_t", "decoder": "_decoder_b"}
    convs = {"fine_encoder.0": "_conv_1", "fine_encoder.2": "_conv_2", "fine_encoder.4": "_conv_3",
             "coarse_encoder.0": "_conv_1", "coarse_encoder.2": "_conv_2", "decoder.first": "_conv_1",
             "decoder.second": "_conv_trans_1", "decoder.last": "_conv_trans_2"}  # fmt: skip
    others = {"to_coarse": "_pre_vq_conv_top", "to_fine": "_pre_vq_conv_bot", "upsample": "upsample_t"}
    books = {"coarse_codes": "_vq_vae_top", "fine_codes": "_vq_vae_bot"}
    ends = {"codes": "_embedding.weight", "uses": "_ema_cluster_size", "sums": "_ema_w"}
    for name, tensor in autoencoder.state_dict().items():
        head, _, end = name.rpartition(".")
        if head in books:
            theirs = f"{books[head]}.{ends[end]}"
        elif head in others:
            theirs = f"{others[head]}.{end}"
        elif head in convs:
            theirs = f"{layers[name.split('.')[0]]}.{convs[head]}.{end}"
        else:
            kind, index = head.split(".")[-2:]
            theirs = f"{layers[name.split('.')[0]]}._residual_stack._layers.{index}._block.{blocks[kind]}.{end}"
        names[theirs] = torch.randn_like(tensor).abs()
    return names


def test_the_authors_file_is_loaded_whole_and_its_stage_is_left_out(tmp_path: Path) -> None:
    autoencoder = TwoLevelAutoencoder(FORMS["published"].autoencoder)
    theirs, path = _their_state(autoencoder), tmp_path / "quantiser.pckl"
    torch.save(theirs, path)
    load_quantiser(autoencoder, path)
    torch.testing.assert_close(autoencoder.fine_codes.get_buffer("codes"), theirs["_vq_vae_bot._embedding.weight"])
    inner = autoencoder.get_parameter("decoder.stack.inner.1.weight")
    torch.testing.assert_close(inner.data, theirs["_decoder_b._residual_stack._layers.1._block.1.weight"])
    given = Dsr(DsrParameters(size=64, form="published", quantiser=str(path)))
    assert [stage.name for stage in given.stages()] == ["subspaces", "upsampling"]
    torch.testing.assert_close(given.network.autoencoder.state_dict(), autoencoder.state_dict())


def test_files_of_other_networks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"conv.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="belongs to another architecture"):
        Dsr(DsrParameters(size=64, form="published", quantiser=str(path)))
    with pytest.raises(UsageError, match="Only the published form"):
        Dsr(DsrParameters(size=64, quantiser=str(path)))


def test_sizes_that_do_not_fit_and_missing_textures_are_refused() -> None:
    with pytest.raises(UsageError, match="multiple of 32"):
        _detector(size=80)
    with pytest.raises(UsageError, match="crop 48 does not fit"):
        _detector(crop=48)
    with pytest.raises(DataError, match="no folder of textures"):
        Dsr(DsrParameters(textures="/nowhere"))


def test_each_stage_sees_what_it_learns_from() -> None:
    stages = ("quantiser", "subspaces", "upsampling", "another")
    simulator = StageSimulator(DefectSimulator(0, clean_share=0.0), stages)
    image = np.full((64, 64, 3), 90, np.uint8)
    image[..., 1] = 120
    texture, mask_alone, colour, untouched = (simulator.sample(image, (stage, 0, 0)) for stage in range(4))
    assert len(np.unique(texture.defective[texture.mask], axis=0)) > 2
    assert mask_alone.mask.any()
    np.testing.assert_array_equal(mask_alone.defective, image)
    assert len(np.unique(colour.defective[colour.mask], axis=0)) == 1
    assert not np.array_equal(colour.defective, image)
    assert not untouched.mask.any()
    np.testing.assert_array_equal(untouched.defective, image)


def test_latents_have_strides_of_four_and_eight() -> None:
    with torch.no_grad():
        latents, quantised = TwoLevelAutoencoder(FORMS["edge"].autoencoder).encode(torch.rand(1, 3, 64, 96))
    for level in (latents, quantised):
        assert isinstance(level, Latents)
        assert level.coarse.shape[2:] == (8, 12)
        assert level.fine.shape[2:] == (16, 24)
