"""The published figures are whole and agree with themselves, and what has a recipe can be trained."""

from dataclasses import replace
from statistics import fmean

import pytest

from edge_ad.errors import UsageError
from edge_ad.models.published import PUBLISHED, Stated
from edge_ad.models.registry import method_class, parse_parameters
from edge_ad.reproduction.datasets import DATASETS
from edge_ad.reproduction.recipes import Options, key_of, request_values
from edge_ad.reproduction.tables import Table, read_tables, table_of

LISTED = ["000/1", *(f"001/{n}" for n in range(1, 9)), *(f"001/fig12{letter}" for letter in "abcd")]
LISTED += [*(f"002/{n}" for n in range(1, 6)), "003/1", "003/2", "004/1", "004/2"]
WITH_ROWS = [table for table in read_tables().values() if any(part.rows for part in table.parts)]

# Table, column, metric: means that the papers print, and that their own rows do not give.
MISPRINTED = {
    ("002/2", "FADeR, DINO-ViT", "image_auroc"),
    ("002/2", "FADeR, DINO-ViT", "pixel_auroc"),
    ("002/2", "FADeR, WinCLIP", "image_auroc"),
    ("002/4", "DSR, FADeR", "pixel_auroc"),
    ("002/5", "JNLD", "image_auroc"),
}


def test_every_table_of_the_papers_is_there() -> None:
    assert list(read_tables()) == LISTED


@pytest.mark.parametrize("table", WITH_ROWS, ids=lambda table: table.id)
def test_the_rows_are_the_categories_and_give_the_published_mean(table: Table) -> None:
    rounding = 0.051 if table.unit == "percent" else 0.00051
    differ = set()
    for part in table.parts:
        assert set(part.rows) == set(DATASETS[part.dataset].categories)
        for at, column in enumerate(table.columns):
            for number, metric in enumerate(table.metrics):
                values = [figures[at][number] for figures in part.rows.values()]
                known = [value for value in values if value is not None]
                mean = part.mean[at][number]
                if mean is not None and known and abs(fmean(known) - mean) > 2 * rounding:
                    differ.add((table.id, column.label, metric))
    assert differ == {which for which in MISPRINTED if which[0] == table.id}
    assert all(any(note.startswith(f"{label}: the printed mean of {metric}") for note in table.notes)
               for _, label, metric in differ)  # fmt: skip


@pytest.mark.parametrize("table", read_tables().values(), ids=lambda table: table.id)
@pytest.mark.parametrize("quick", [False, True])
def test_every_recipe_can_be_trained(table: Table, quick: bool) -> None:
    for recipe in table.own.values():
        preset = method_class(recipe.method).parameters_type.all_presets()[PUBLISHED]
        for category in ("metal_nut", *by_name(recipe.method)):
            values, settings = request_values(recipe, category, Options(quick=quick))
            fields = method_class(recipe.method).parameters_type.model_fields
            asked = {name: value for name, value in {**preset, **values}.items() if name in fields and value != "auto"}
            parse_parameters(recipe.method, asked)
            assert set(settings) <= {"batch_size", "crop_share"}


def by_name(method: str) -> dict[str, dict[str, object]]:
    publication = method_class(method).parameters_type.publication
    return {} if publication is None else {name: dict(values) for name, values in publication.by_category.items()}


def test_columns_that_are_trained_alike_share_a_run_and_others_do_not() -> None:
    options = Options()
    keys = {
        (table.id, label): key_of(recipe, "mvtec", "screw", options)
        for table in read_tables().values()
        for label, recipe in table.own.items()
    }
    assert keys["001/1", "PBAS"] == keys["001/2", "PBAS"] == keys["001/8", "seed 0"] == keys["001/6", "PBAS, Ours"]
    assert len({key for (table, _), key in keys.items() if table == "001/8"}) == 5
    fico = table_of("004/2").own["FiCo"]
    assert key_of(fico, "mvtec", "screw", options) != key_of(fico, "mvtec", "wood", options)  # 40 epochs, and 20
    assert request_values(fico, "screw", options)[0]["epochs"] == 40
    assert "epochs" not in request_values(fico, "wood", options)[0]


def test_pbas_crops_two_categories_as_its_code_does() -> None:
    recipe, options = table_of("001/1").own["PBAS"], Options()
    assert {name: request_values(recipe, name, options)[1] for name in ("wood", "toothbrush", "screw")} == {
        "wood": {"crop_share": 288 / 329},
        "toothbrush": {"crop_share": 288 / 329},
        "screw": {},
    }


def test_a_preset_that_says_something_else_gives_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, options = table_of("001/1").own["CutPaste"], Options()
    kind = method_class(recipe.method).parameters_type
    before, publication = key_of(recipe, "mvtec", "screw", options), kind.publication
    assert publication is not None
    assert before == key_of(recipe, "mvtec", "screw", options)
    other = replace(publication, values={**publication.values, "steps": Stated(1792, "other")})
    monkeypatch.setattr(kind, "publication", other)
    assert key_of(recipe, "mvtec", "screw", options) != before


def test_a_table_that_there_is_not_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"001/9.*Did you mean 001/8|001/9.*--list"):
        table_of("001/9")
