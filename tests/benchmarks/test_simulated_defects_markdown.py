"""The table of benchmarks/notes/simulated_defects.md and the recorded rows it comes from."""

from benchmarks.simulated_defects_markdown import PAGE, made
from benchmarks.write_tables import rewrite


def test_the_page_shows_the_recorded_rows() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("<!-- table: simulated-defects -->") == 1
    assert rewrite(text, made()) == text, "run python -m benchmarks.simulated_defects_markdown"


def test_a_figure_that_was_changed_by_hand_is_noticed() -> None:
    text = PAGE.read_text(encoding="utf-8")
    changed = text.replace("| metal_plate | ", "| metal_plate | 9", 1)
    assert changed != text
    assert rewrite(changed, made()) == text
