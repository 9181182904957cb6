"""The DINO mask source with a tiny ViT from a folder."""

import json
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from edge_ad.errors import UsageError
from edge_ad.models import AnomalyDetector, create_detector, restore_detector
from edge_ad.models.mask_sources import DinoAttention

transformers = pytest.importorskip("transformers")

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture
def vit_folder(tmp_path: Path) -> Path:
    """A randomly drawn ViT with 16×16 patches for images of 32×32."""
    config = transformers.ViTConfig(**SIZES, image_size=32, patch_size=16, initializer_range=0.5)
    transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


def _create(folder: Path) -> AnomalyDetector:
    values = {"mask_source": "dino", "dino_model": str(folder), "size": 64, "width": "pico", "mosaic": 8}
    return create_detector("ear", values)


def _source(detector: AnomalyDetector) -> DinoAttention:
    source = detector.get_submodule("mask_source")
    assert isinstance(source, DinoAttention)
    return source


def test_suspicion_is_the_class_tokens_attention_in_the_last_block(vit_folder: Path, images: Tensor) -> None:
    suspicion = _source(_create(vit_folder))(images, None)
    model = transformers.ViTModel.from_pretrained(vit_folder, add_pooling_layer=False, attn_implementation="eager")
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (images - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        attentions = model(pixels, output_attentions=True, interpolate_pos_encoding=True).attentions
    grid = attentions[-1].mean(1)[:, 0, 1:].reshape(4, 1, 4, 4)  # 64 / 16 patches
    torch.testing.assert_close(suspicion, grid.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_the_top_share_of_the_attention_is_masked(vit_folder: Path, images: Tensor) -> None:
    source = _source(_create(vit_folder))
    suspicion = source(images, None)
    mask = source.binary(suspicion)
    share = (mask * suspicion).sum((1, 2, 3)) / suspicion.sum((1, 2, 3))
    assert (share >= 0.6).all()
    assert (mask.mean((1, 2, 3)) < 1).all()
    assert ((mask == 1) | (mask == 0)).all()


def test_a_run_needs_neither_the_folder_nor_its_path_again(vit_folder: Path, images: Tensor) -> None:
    detector = _create(vit_folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = json.loads(detector.config.model_dump_json())
    assert str(vit_folder) not in json.dumps(values["dino_config"])
    for path in sorted(vit_folder.iterdir()):
        path.unlink()
    vit_folder.rmdir()
    restored = restore_detector("ear", values, detector.state_dict())
    with torch.no_grad():
        for got, expected in zip(restored(images), detector(images), strict=True):
            assert torch.equal(got, expected)


def test_a_missing_model_and_another_architecture_are_refused(tmp_path: Path) -> None:
    transformers.BertModel(transformers.BertConfig(vocab_size=9, **SIZES)).save_pretrained(tmp_path / "bert")
    for folder in (tmp_path / "none", tmp_path / "bert"):
        with pytest.raises(UsageError, match="cannot be loaded") as caught:
            _create(folder)
        assert "\n" not in str(caught.value)
        assert "dino_model" in caught.value.hint


def test_training_images_pass_one_by_one_as_the_attention_of_all_would_not_fit(
    vit_folder: Path, images: Tensor
) -> None:
    source = _source(_create(vit_folder))
    sizes: list[int] = []
    source.vit.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    crossed = source.cross_fitted(images, None)
    assert sizes == [1, 1, 1, 1]
    torch.testing.assert_close(crossed, source(images, None))


class _Mask(nn.Module):
    def __init__(self, source: DinoAttention) -> None:
        super().__init__()
        self.source = source

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        suspicion = self.source(images, None)
        return suspicion, self.source.binary(suspicion)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # the exporter's own
def test_exports_to_onnx_with_the_same_result(vit_folder: Path, images: Tensor, tmp_path: Path) -> None:
    module = _Mask(_source(_create(vit_folder))).eval()
    program = torch.onnx.export(module, (images[:2],), dynamo=True, verbose=False)
    assert program is not None
    program.save(tmp_path / "mask.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "mask.onnx", providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: images[:2].numpy()})
    with torch.no_grad():
        suspicion, mask = module(images[:2])
    np.testing.assert_allclose(outputs[0], suspicion.numpy(), atol=1e-4)
    np.testing.assert_array_equal(outputs[1], mask.numpy())
