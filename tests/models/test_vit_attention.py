"""Attention of a Vision Transformer as the mask, with tiny transformers from folders."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.errors import UsageError
from edge_ad.models import AnomalyDetector, create_detector, parse_parameters, restore_detector
from edge_ad.models.mask_sources import VitAttention
from tests.models.transformer_folders import VITS, save_vit

transformers = pytest.importorskip("transformers")

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def _create(folder: Path, mask_source: str = "dino") -> AnomalyDetector:
    values = {"mask_source": mask_source, "mask_model": str(folder), "size": 64, "width": "pico", "mosaic": 8}
    return create_detector("ear", values)


def _source(detector: AnomalyDetector) -> VitAttention:
    source = detector.get_submodule("mask_source")
    assert isinstance(source, VitAttention)
    return source


def _standardised(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


@pytest.mark.parametrize("architecture", VITS)
def test_suspicion_is_what_transformers_says_of_the_class_token_without_any_other_token(
    architecture: str, images: Tensor, tmp_path: Path
) -> None:
    folder = save_vit(tmp_path, architecture)
    suspicion = _source(_create(folder))(images, None)
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    pixels = _standardised(images, *IMAGENET)
    if model.config.patch_size == 14:
        pixels = F.interpolate(pixels, (56, 56), mode="bilinear")  # 14 pixels for each 16
    options = {"interpolate_pos_encoding": True} if architecture in ("ViT", "DeiT") else {}
    with torch.no_grad():
        attention = model(pixels, output_attentions=True, **options).attentions[-1]
    others = {"ViT": 1, "DeiT": 2, "Dinov2": 1, "Dinov2WithRegisters": 4, "DINOv3ViT": 5}[architecture]
    assert attention.shape[-1] == others + 16
    grid = attention.mean(1)[:, 0, others:].reshape(4, 1, 4, 4)
    torch.testing.assert_close(suspicion, grid.repeat_interleave(2, 2).repeat_interleave(2, 3), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("architecture", VITS)
def test_the_exported_form_sees_the_same(architecture: str, images: Tensor, tmp_path: Path) -> None:
    source = _source(_create(save_vit(tmp_path, architecture)))
    torch.testing.assert_close(source.deployed((64, 64))(images, None), source(images, None))


@pytest.mark.parametrize(("mask_source", "value"), [("vit", 0.5), ("dino", None)])
def test_without_a_processor_each_source_has_the_statistics_its_authors_trained_with(
    mask_source: str, value: float | None, tmp_path: Path
) -> None:
    source = _source(_create(save_vit(tmp_path), mask_source))
    mean, std = ([value] * 3, [value] * 3) if value else IMAGENET
    assert source.get_buffer("pixel_mean").flatten().tolist() == pytest.approx(mean)
    assert source.get_buffer("pixel_std").flatten().tolist() == pytest.approx(std)


@pytest.mark.parametrize(
    ("processor", "mean", "std"),
    [
        ({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}, [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]),
        ({"do_normalize": False}, [0, 0, 0], [1, 1, 1]),
        ({"image_mean": [127.5] * 3, "image_std": [127.5] * 3, "do_rescale": False}, [0.5] * 3, [0.5] * 3),
        ({"image_mean": [1.0] * 3, "image_std": [1.0] * 3, "rescale_factor": 1 / 127.5}, [0.5] * 3, [0.5] * 3),
    ],
)
def test_pixels_are_brought_to_what_the_models_own_processor_gives(
    processor: dict[str, object], mean: list[float], std: list[float], tmp_path: Path
) -> None:
    source = _source(_create(save_vit(tmp_path, processor=processor), "vit"))
    assert source.get_buffer("pixel_mean").flatten().tolist() == pytest.approx(mean)
    assert source.get_buffer("pixel_std").flatten().tolist() == pytest.approx(std)


def test_the_top_share_of_the_attention_is_masked(images: Tensor, tmp_path: Path) -> None:
    source = _source(_create(save_vit(tmp_path)))
    suspicion = source(images, None)
    mask = source.binary(suspicion)
    share = (mask * suspicion).sum((1, 2, 3)) / suspicion.sum((1, 2, 3))
    assert (share >= 0.6).all()
    assert (mask.mean((1, 2, 3)) < 1).all()
    assert ((mask == 1) | (mask == 0)).all()


@pytest.mark.parametrize("architecture", ["ViT", "DINOv3ViT"])
def test_a_run_needs_neither_the_folder_nor_its_path_again(architecture: str, images: Tensor, tmp_path: Path) -> None:
    folder = save_vit(tmp_path / "vit", architecture)
    detector = _create(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = json.loads(detector.config.model_dump_json())
    assert str(folder) not in json.dumps(values["mask_config"])
    for path in sorted(folder.iterdir()):
        path.unlink()
    folder.rmdir()
    restored = restore_detector("ear", values, detector.state_dict())
    with torch.no_grad():
        for got, expected in zip(restored(images), detector(images), strict=True):
            assert torch.equal(got, expected)


def test_a_run_of_before_the_parameters_were_renamed_opens(tmp_path: Path) -> None:
    detector = _create(save_vit(tmp_path))
    values = json.loads(detector.config.model_dump_json())
    old = {**values, "dino_model": values["mask_model"], "dino_config": values["mask_config"]}
    del old["mask_model"], old["mask_config"]
    assert restore_detector("ear", old, detector.state_dict()).config == detector.config
    default = {"mask_source": "full", "dino_model": "facebook/dino-vits8", "dino_config": None}
    assert parse_parameters("ear", default) == parse_parameters("ear", {"mask_source": "full"})


def test_a_missing_model_and_another_architecture_are_refused(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    transformers.BertModel(transformers.BertConfig(vocab_size=9, **sizes)).save_pretrained(tmp_path / "bert")
    swin = transformers.SwinConfig(image_size=32, embed_dim=8, depths=[1], num_heads=[2])
    transformers.SwinModel(swin).save_pretrained(tmp_path / "swin")  # attention in windows, no class token
    for folder in (tmp_path / "none", tmp_path / "bert", tmp_path / "swin"):
        with pytest.raises(UsageError, match="cannot be loaded") as caught:
            _create(folder)
        assert "\n" not in str(caught.value)
        assert "mask_model" in caught.value.hint


def test_training_images_pass_one_by_one_as_the_attention_of_all_would_not_fit(images: Tensor, tmp_path: Path) -> None:
    source = _source(_create(save_vit(tmp_path)))
    sizes: list[int] = []
    source.vit.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    crossed = source.cross_fitted(images, None)
    assert sizes == [1, 1, 1, 1]
    torch.testing.assert_close(crossed, source(images, None))
