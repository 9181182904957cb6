"""WinCLIP against transformers' own CLIP and the equations of its paper, written down window by window."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.errors import UsageError
from edge_ad.models import create_detector, restore_detector
from edge_ad.models.mask_sources.winclip import WinClipMap
from edge_ad.models.winclip import WinClip
from edge_ad.models.winclip.prompts import ANOMALOUS_STATES, NORMAL_STATES, TEMPLATES, prompts
from edge_ad.models.winclip.windows import harmonic_aggregation
from tests.models.transformer_folders import save_clip

transformers = pytest.importorskip("transformers")

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def _create(folder: Path, **values: Any) -> WinClip:
    detector = create_detector("winclip", {"size": 96, "clip_model": str(folder), "part": "metal plate", **values})
    assert isinstance(detector, WinClip)
    return detector


@pytest.fixture
def photos() -> Tensor:
    return torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))


def _texts(model: Any, folder: Path) -> Tensor:
    """Mean embedding of the prompts of each class, one prompt at a time, normalised."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    means = []
    for states in (NORMAL_STATES, ANOMALOUS_STATES):
        texts = [template.format(state.format("metal plate")) for template in TEMPLATES for state in states]
        tokens = [tokenizer(text, return_tensors="pt") for text in texts]
        means.append(torch.stack([model.get_text_features(**each).pooler_output[0] for each in tokens]).mean(0))
    return F.normalize(torch.stack(means), dim=1)


def _window_embedding(model: Any, embeddings: Tensor, patches: list[int]) -> Tensor:
    """Image tower on the class token and some patches alone: (N, 1 + h·w, C) → (N, D)."""
    chosen = embeddings[:, [0, *(1 + patch for patch in patches)]]
    vision = model.vision_model
    encoded = vision.encoder(vision.pre_layrnorm(chosen)).last_hidden_state[:, 0]
    return F.normalize(model.visual_projection(vision.post_layernorm(encoded)), dim=1)


def _reference(folder: Path, images: Tensor, rows: int, columns: int, patch: int) -> tuple[Tensor, Tensor]:
    """Zero-shot score and multi-scale map of the paper, patch by patch."""
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    pixels = (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    if patch not in (16, 32):
        pixels = F.interpolate(pixels, (rows * patch, columns * patch), mode="bilinear")
    embeddings = model.vision_model.embeddings(pixels, interpolate_pos_encoding=True)
    texts = _texts(model, folder)

    def score(embedding: Tensor) -> Tensor:
        return (embedding @ texts.T / 0.07).softmax(1)[:, 1]

    photo = model.get_image_features(pixel_values=pixels, interpolate_pos_encoding=True).pooler_output
    whole = score(F.normalize(photo, dim=1))
    inverse = 1 / whole[:, None, None].expand(-1, rows, columns)
    for side in (2, 3):
        sums, counts = torch.zeros(len(images), rows, columns), torch.zeros(rows, columns)
        for top in range(rows - side + 1):
            for left in range(columns - side + 1):
                inside = [(top + i) * columns + left + j for i in range(side) for j in range(side)]
                window = score(_window_embedding(model, embeddings, inside))
                sums[:, top : top + side, left : left + side] += 1 / window[:, None, None]
                counts[top : top + side, left : left + side] += 1
        inverse = inverse + sums / counts  # of the harmonic mean over the windows of a patch
    return whole, 3 / inverse


@pytest.mark.parametrize("patch", [16, 14])
@torch.no_grad()
def test_scores_and_map_are_the_papers(patch: int, photos: Tensor, tmp_path: Path) -> None:
    folder = save_clip(tmp_path, patch=patch)
    score, anomaly_map = _create(folder)(photos)
    whole, patches = _reference(folder, photos, 6, 6, patch)
    torch.testing.assert_close(score, whole, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(anomaly_map[:, 0], F.interpolate(patches[:, None], (96, 96), mode="bilinear")[:, 0])
    assert anomaly_map.std() > 0.01


def test_the_harmonic_mean_counts_the_windows_of_each_patch() -> None:
    scores = torch.tensor([[1.0, 0.5], [0.25, 0.25]])[None, None]  # windows of 2 × 2 on 3 × 3 patches
    mean = harmonic_aggregation(scores, 2)[0, 0]
    assert mean[0].tolist() == pytest.approx([1.0, 2 / 3, 0.5])
    assert mean[1].tolist() == pytest.approx([2 / 5, 4 / 11, 2 / 6])


def test_every_state_stands_in_every_template() -> None:
    assert len(TEMPLATES) == len(set(TEMPLATES)) == 22
    assert (len(prompts(NORMAL_STATES, "plate")), len(prompts(ANOMALOUS_STATES, "plate"))) == (154, 88)
    assert "a jpeg corrupted photo of the plate without flaw." in prompts(NORMAL_STATES, "plate")
    assert "a photo of a damaged plate for visual inspection." in prompts(ANOMALOUS_STATES, "plate")


def test_another_part_changes_the_scores(photos: Tensor, tmp_path: Path) -> None:
    folder = save_clip(tmp_path)
    assert not torch.allclose(_create(folder)(photos).score, _create(folder, part="screw")(photos).score)


def test_a_run_needs_neither_texts_nor_tokenizer_nor_folder_again(photos: Tensor, tmp_path: Path) -> None:
    folder = save_clip(tmp_path / "clip")
    detector = _create(folder)
    assert not any("text_model" in name for name in detector.state_dict())
    values = json.loads(detector.config.model_dump_json())
    assert str(folder) not in json.dumps(values["clip_config"])
    for path in sorted(folder.iterdir()):
        path.unlink()
    restored = restore_detector("winclip", values, detector.state_dict())
    assert torch.equal(restored(photos).anomaly_map, detector(photos).anomaly_map)


def test_what_is_no_clip_is_refused(tmp_path: Path) -> None:
    folder = save_clip(tmp_path / "clip")
    transformers.ViTModel(
        transformers.ViTConfig(hidden_size=12, num_hidden_layers=1, intermediate_size=8)
    ).save_pretrained(tmp_path / "vit")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        (folder / name).unlink()
    for refused in (tmp_path / "none", tmp_path / "vit", folder):
        with pytest.raises(UsageError, match="CLIP cannot be loaded") as caught:
            _create(refused)
        assert "clip_model" in caught.value.hint
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="not been read"):
        restore_detector("winclip", {}, {})


def test_as_a_mask_source_it_is_the_same_map_and_its_top_share_is_hidden(photos: Tensor, tmp_path: Path) -> None:
    folder = save_clip(tmp_path)
    values = {"mask_source": "winclip", "mask_model": str(folder), "mask_part": "metal plate", "size": 96}
    source = create_detector("ear", {**values, "width": "pico", "mosaic": 8}).get_submodule("mask_source")
    assert isinstance(source, WinClipMap)
    suspicion = source(photos, None)
    patches = _create(folder).windows(photos).patches
    torch.testing.assert_close(suspicion, patches.repeat_interleave(2, 2).repeat_interleave(2, 3))
    hidden = source.binary(suspicion)
    assert ((hidden * suspicion).sum((1, 2, 3)) >= 0.6 * suspicion.sum((1, 2, 3))).all()
    assert torch.equal(source.cross_fitted(photos, None) > 0, suspicion > 0)


def test_an_input_with_no_room_for_a_window_is_refused_with_the_size_that_has(tmp_path: Path) -> None:
    folder = save_clip(tmp_path, patch=32)
    values = {"mask_source": "winclip", "mask_model": str(folder), "size": 64, "width": "pico", "mosaic": 8}
    for method, given in (("ear", values), ("winclip", {"size": 64, "clip_model": str(folder)})):
        with pytest.raises(UsageError) as caught:
            create_detector(method, given)
        assert "96" in str(caught.value) + caught.value.hint
