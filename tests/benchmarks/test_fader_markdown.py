"""The tables of benchmarks/notes/controls.md and the recorded rows they come from."""

from benchmarks.fader_markdown import DOCUMENT, read_rows, rewrite, tables

ROW = {
    "product": "plate",
    "size": 128,
    "width": "pico",
    "mask": "full",
    "model": "fader distance (fused)",
    "image_auroc": 0.9876,
    "pixel_auroc": 0.5,
    "pixel_ap": 0.25,
    "pro": 0.125,
    "held_out": 0.75,
    "brightness_auroc": 0.6,
    "fader_epochs": 18,
}


def test_the_page_shows_the_recorded_rows() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    assert rewrite(page, read_rows()) == page, "run python -m benchmarks.fader_markdown"


def test_a_row_says_its_mask_source_model_and_map() -> None:
    table = tables([ROW])
    assert "### plate" in table
    assert "FADeR 18 epochs; mean brightness alone has an image AUROC of 0.600." in table
    assert "| pico | full | FADeR, distance (ours) | fused | 0.988 | 0.500 | 0.250 | 0.125 | 0.750 |" in table


def test_a_changed_row_changes_the_page() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    rows = read_rows()
    changed = [{**rows[0], "image_auroc": 0.1234}, *rows[1:]]
    assert rewrite(page, changed) != page
