"""The table of mask sources: which cells are measured, and which rows make one complete."""

from pathlib import Path

import pytest

from benchmarks import fader_table as table
from benchmarks.suites.record import append_row, read_lines

KEY = {"product": "plate", "size": 128, "seed": 0, "width": "pico"}


def test_a_source_is_measured_until_all_its_predictors_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plate").mkdir()
    out, measured = tmp_path / "rows.jsonl", list[str]()
    append_row(out, {**KEY, "width": "-", "mask": "patch-gaussian", "model": "-"})
    for mask, models in (("none", ["ear", "fader mlp", "fader vit"]), ("full", ["ear", "fader mlp"])):
        for model in models:
            append_row(out, {**KEY, "mask": mask, "model": model, "image_auroc": 0.5})

    def measure(arguments, folder, told):  # type: ignore[no-untyped-def]
        measured.append(arguments["mask"])
        return {"rows": [{**KEY, "mask": "full", "model": model} for model in ("ear", "fader mlp", "fader vit")]}

    monkeypatch.setattr(table, "measure_cell", measure)
    given = ["--data", str(tmp_path / "plate"), "--out", str(out), "--size", "128", "--width", "pico"]
    given += ["--sources", "none", "full", "--predictors", "mlp", "vit", "--workers", "0"]
    assert table.main(given) == 0
    assert measured == ["full"]
    (new,) = read_lines(out)[6:]
    assert (new["mask"], new["model"]) == ("full", "fader vit")
