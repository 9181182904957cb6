"""What methods declare of their papers can be trained, and the page of the presets shows it."""

import importlib.util
from pathlib import Path

import pytest

from edge_ad.errors import UsageError
from edge_ad.models.published import PUBLISHED, Publication, TrainingSettings
from edge_ad.models.registry import method_class, method_names, parse_parameters
from edge_ad.training.loop import epochs_of

OURS = {"patch-gaussian", "patch-metric"}
WITH_PAPER = [name for name in method_names() if name not in OURS]


def _publication(method: str) -> Publication:
    publication = method_class(method).parameters_type.publication
    assert publication is not None
    return publication


@pytest.mark.parametrize("method", WITH_PAPER)
def test_the_published_preset_is_one_that_the_method_takes(method: str) -> None:
    kind = method_class(method).parameters_type
    preset = kind.all_presets()[PUBLISHED]
    settings = TrainingSettings(**{name: preset[name] for name in TrainingSettings.names() & preset.keys()})
    assert settings.all_photos
    own = {name: value for name, value in preset.items() if name not in TrainingSettings.names() and value != "auto"}
    parsed = parse_parameters(method, own)
    assert {name: getattr(parsed, name) for name in own} == own


@pytest.mark.parametrize("method", WITH_PAPER)
def test_every_published_value_is_of_the_paper_or_the_code_or_says_why_it_is_taken(method: str) -> None:
    unexplained = [
        name
        for name, stated in _publication(method).values.items()
        if not (stated.paper or stated.code or stated.reason)
    ]
    assert unexplained == []


# Without effect under a published preset, or of the machine; the values that the paper leaves open stay the defaults.
INERT = {"seed", "steps", "fader_steps", "head_steps", "quantiser_steps", "upsampling_steps", "crops", "textures"}
INERT |= {"constant", "anchor", "distance", "mask_quantile", "mask_config", "mask_part", "clip_config", "clusters"}
INERT |= {"coverage", "draws", "kinds", "metric_steps", "metric_learning_rate", "rank", "shrinkage", "noise", "hidden"}
INERT |= {"flow_steps", "dsr_steps", "dsr_textures", "ami_clusters", "ami_deviations", "ami_steps", "ami_width"}
LEFT_OPEN = {"candidates", "contrast_margin", "mean_weight", "nudge_weight", "partner_distance", "reach", "step"}
LEFT_OPEN |= {"shuffle_weight", "shuffled", "strength", "tightness", "variation_weight", "adaptive", "compensation"}
OFF = {"views": 0, "rotations": 0, "input_normalisation": "none", "feature_centring": False, "matching": "none"}
OFF |= {"tiles": "auto", "embedding": 0, "sigma": 4.0, "matching_share": 0.5}


@pytest.mark.parametrize("method", WITH_PAPER)
def test_what_a_preset_does_not_set_changes_nothing(method: str) -> None:
    """A new parameter, or a new default, must not get into what is called published unseen."""
    fields = method_class(method).parameters_type.model_fields
    left = {name: fields[name].default for name in fields if name not in _publication(method).values}
    assert {name for name in left if name not in INERT | LEFT_OPEN | OFF.keys()} == set()
    assert {name: left[name] for name in OFF.keys() & left.keys()} == {
        name: OFF[name] for name in OFF.keys() & left.keys()
    }


def test_papers_that_train_alike_differ_where_they_say_so() -> None:
    pbas, simplenet = _publication("pbas").preset, _publication("simplenet").preset
    assert (pbas["size"], pbas["epochs"], pbas["degree"], pbas["crop_share"]) == (288, 640, 0.25, 1.0)
    assert simplenet["crop_share"] == pytest.approx(288 / 329)
    assert parse_parameters("pbas", _own(pbas)).model_dump()["embedding"] == 768
    config = method_class("pbas").parameters_type.model_validate(_own(pbas))
    assert config.decays == (  # type: ignore[attr-defined]
        {"weight_decay": 1e-5, "decoupled_weight_decay": False},
        {"weight_decay": 1e-2, "decoupled_weight_decay": True},
    )


def test_the_published_cutpaste_has_the_papers_steps_whatever_the_number_of_photos() -> None:
    config = parse_parameters("cutpaste", _own(_publication("cutpaste").preset))
    detector = method_class("cutpaste")(config.model_copy(update={"size": 64}), pretrained=False)
    backbone = detector.stages()[-1]
    for photos in (60, 391):
        steps = epochs_of(backbone, photos, 32) * -(-photos // 32)
        assert 65536 <= steps < 65536 + -(-photos // 32)


def _own(preset: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in preset.items() if name not in TrainingSettings.names()}


@pytest.mark.parametrize("method", sorted(OURS))
def test_a_method_of_ours_has_no_published_preset(method: str) -> None:
    assert PUBLISHED not in method_class(method).parameters_type.all_presets()


def test_a_random_projection_needs_a_random_start() -> None:
    with pytest.raises(UsageError, match="projection=random needs start=random"):
        parse_parameters("simplenet", {"projection": "random"})


def test_the_page_shows_every_value_of_every_paper() -> None:
    path = Path(__file__).parents[2] / "docs" / "hooks" / "presets_page.py"
    spec = importlib.util.spec_from_file_location("presets_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sections = dict(part.split("\n", 1) for part in module.page().split("\n## ")[1:])
    assert list(sections) == list(method_names())
    assert "| `degree` | 0.3 | 0.25 | 0.25 | 0.3 | the code's |" in sections["pbas"]
    assert "no preset `published`" in sections["patch-metric"]
    for method in WITH_PAPER:
        assert sections[method].count("\n| `") == len(_publication(method).values)
        assert f"Checked against: {_publication(method).checked}" in sections[method]
    assert "- `wood`: `crop_share` 0.8754" in sections["pbas"]
